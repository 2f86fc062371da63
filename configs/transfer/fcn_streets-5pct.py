# Few-label segmentation of the embedded streets: an FCN on the whole backbone, fine-tuned on 5 % of
# the labels (20 of 400 frames), three label subsets, one for each pretraining seed.
#   densecl transfer fcn_streets-5pct --checkpoint densecl=work_dirs/.../last.pth
version = 1
data = dict(
    train=dict(type="Streets", split="train"),
    val=dict(type="Streets", split="val"),
    test=dict(type="Streets", split="test"),
    unlabelled=dict(type="Streets", split="pretrain"),
)
finetune = dict(
    head="fcn",
    channels=64,
    output_stride=8,
    steps=100,
    batch_size=8,
    crop=(96, 128),
)
learning_rates = (0.02, 0.06)
fractions = (0.05,)
subset_seeds = (0, 1, 2)
seeds = (0, 1, 2)
selection = "first"
pairing = "zip"
