# Few-label segmentation of CamVid: UPerNet fine-tuned on 10 % of the official training split, drawn
# in temporal blocks, scored on the official test split. `--data-root` names the folder that holds
# train/, val/ and test/, each with images/ and labels/.
#   densecl transfer upernet_camvid-10pct --data-root DIR --checkpoint densecl=FILE
# The official split shares drives between training and test; read the numbers with that in mind.
version = 1
_names = "sky building pole road pavement tree sign fence car pedestrian bicyclist"
_camvid = dict(type="LabelledFolder", classes=_names.split(), void=[11])
data = dict(
    train=dict(images="train/images", labels="train/labels", **_camvid),
    val=dict(images="val/images", labels="val/labels", **_camvid),
    test=dict(images="test/images", labels="test/labels", **_camvid),
    unlabelled=dict(type="ImageFolder", root="train/images"),
)
finetune = dict(
    head="upernet",
    channels=64,
    steps=300,
    batch_size=8,
    resize=(180, 240),
    crop=(128, 160),
    photometric=dict(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, jitter=0.8),
    class_weights="root",
    optimizer="adamw",
    weight_decay=0.01,
    amp="auto",
)
learning_rates = (0.001, 0.003)
fractions = (0.1,)
subset_seeds = (0, 1, 2)
seeds = (0, 1, 2)
blocks = 30
selection = "first"
pairing = "zip"
