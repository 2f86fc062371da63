# Detection of cars, pedestrians and bicyclists on the embedded streets, whatever the detector:
# three label subsets, each for one pretraining seed, 10 % of the labels (40 of 400 frames). A box
# of less than 6 pixels in width or height, or that is mostly hidden, is ignored.
version = 1
_boxes = dict(type="StreetsBoxes", side=6)
data = dict(
    train=dict(split="train", **_boxes),
    val=dict(split="val", **_boxes),
    test=dict(split="test", **_boxes),
    unlabelled=dict(type="Streets", split="pretrain"),
)
detection = dict(
    channels=64,
    convs=1,
    anchor_scale=2.0,
    steps=600,
    batch_size=4,
    crop=(96, 128),
    scale=(0.9, 1.8),
)
learning_rates = (0.001, 0.002)
fractions = (0.1,)
subset_seeds = (0, 1, 2)
seeds = (0, 1, 2)
selection = "first"
pairing = "zip"
