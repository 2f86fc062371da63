# Few-label segmentation of the embedded streets: UPerNet fine-tuned on 5 % of the labels (20 of 400
# frames), three label subsets. Short runs: about 10 s each on 2 cores.
#   densecl transfer upernet_streets-5pct --checkpoint densecl=work_dirs/.../last.pth
_base_ = ["../_base_/upernet_few_labels.py"]

data = dict(
    train=dict(type="Streets", split="train"),
    val=dict(type="Streets", split="val"),
    test=dict(type="Streets", split="test"),
    unlabelled=dict(type="Streets", split="pretrain"),
)
finetune = dict(channels=32, steps=150, crop=(96, 128), photometric=dict(hue=0.2))
fractions = (0.05,)
