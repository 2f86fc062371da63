# Few-label segmentation of CamVid: an FCN fine-tuned on 10 % of the official training split, drawn
# in temporal blocks, scored on the official test split. `--data-root` names the folder that holds
# train/, val/ and test/, each with images/ and labels/.
#   densecl transfer fcn_camvid-10pct --data-root DIR --checkpoint densecl=work_dirs/.../last.pth
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
    head="fcn",
    channels=64,
    output_stride=8,
    steps=300,
    batch_size=8,
    resize=(180, 240),
    crop=(128, 160),
)
learning_rates = (0.01, 0.03, 0.1)
fractions = (0.1,)
subset_seeds = (0, 1, 2)
seeds = (0, 1, 2)
blocks = 30
selection = "all"
pairing = "zip"
