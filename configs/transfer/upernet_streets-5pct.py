# Few-label segmentation of the embedded streets: UPerNet fine-tuned on 5 % of the labels (20 of 400
# frames), three label subsets. Short runs: about 10 s each on 2 cores.
#   densecl transfer upernet_streets-5pct --checkpoint densecl=work_dirs/.../last.pth
version = 1
data = dict(
    train=dict(type="Streets", split="train"),
    val=dict(type="Streets", split="val"),
    test=dict(type="Streets", split="test"),
    unlabelled=dict(type="Streets", split="pretrain"),
)
finetune = dict(
    head="upernet",
    channels=32,
    steps=150,
    batch_size=8,
    crop=(96, 128),
    photometric=dict(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2, jitter=0.8),
    class_weights="root",
    optimizer="adamw",
    weight_decay=0.01,
    amp="auto",
)
learning_rates = (0.001, 0.003)
fractions = (0.05,)
subset_seeds = (0, 1, 2)
seeds = (0, 1, 2)
selection = "first"
pairing = "zip"
