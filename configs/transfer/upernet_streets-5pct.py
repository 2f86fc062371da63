# Few-label segmentation of the embedded streets: UPerNet fine-tuned on 5 % of the labels (20 of 400
# frames), three label subsets. Short runs: about 10 s each on 2 cores.
#   densecl transfer upernet_streets-5pct --checkpoint densecl=work_dirs/.../last.pth
_base_ = ["../_base_/streets_few_labels.py"]

finetune = dict(head="upernet")
