# CamVid's official split with 10 % of the training photos, drawn in temporal blocks. `--data-root`
# names the folder that holds train/, val/ and test/, each with images/ and labels/. The split
# shares drives between training and test; read the numbers with that in mind.
_names = "sky building pole road pavement tree sign fence car pedestrian bicyclist"
_camvid = dict(type="LabelledFolder", classes=_names.split(), void=[11])
data = dict(
    train=dict(images="train/images", labels="train/labels", **_camvid),
    val=dict(images="val/images", labels="val/labels", **_camvid),
    test=dict(images="test/images", labels="test/labels", **_camvid),
    unlabelled=dict(type="ImageFolder", root="train/images"),
)
fractions = (0.1,)
blocks = 30
