# Few-label segmentation of CamVid: UPerNet fine-tuned on 10 % of the official training split, drawn
# in temporal blocks, scored on the official test split. `--data-root` names the folder that holds
# train/, val/ and test/, each with images/ and labels/.
#   densecl transfer upernet_camvid-10pct --data-root DIR --checkpoint densecl=FILE
# The official split shares drives between training and test; read the numbers with that in mind.
_base_ = ["../_base_/upernet_few_labels.py"]

_names = "sky building pole road pavement tree sign fence car pedestrian bicyclist"
_camvid = dict(type="LabelledFolder", classes=_names.split(), void=[11])
data = dict(
    train=dict(images="train/images", labels="train/labels", **_camvid),
    val=dict(images="val/images", labels="val/labels", **_camvid),
    test=dict(images="test/images", labels="test/labels", **_camvid),
    unlabelled=dict(type="ImageFolder", root="train/images"),
)
finetune = dict(channels=64, steps=300, resize=(180, 240), crop=(128, 160))
fractions = (0.1,)
blocks = 30
