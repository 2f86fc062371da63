# Few-label segmentation of the embedded streets with contrast-regularised fine-tuning (Core-tuning)
# on the map of stride 16. All else is upernet_streets-5pct, so that the two differ by it alone.
#   densecl transfer upernet-coretuning_streets-5pct --checkpoint densecl=work_dirs/.../last.pth
_base_ = ["../_base_/streets_few_labels.py"]

finetune = dict(head="upernet", contrast=dict(eta=0.1, level=2, pixels=64))
