# Dense retrieval on CamVid's official split, from 10 % of the training photos, drawn in temporal
# blocks. `--data-root` names the folder that holds train/, val/ and test/, each with images/ and
# labels/.
#   densecl transfer retrieval_camvid --data-root DIR --checkpoint densecl=FILE
# A photo of 180 x 240 has 690 cells at stride 8; the memory holds those of all 37 photos. The
# official split shares drives between training and test; read the numbers with that in mind.
version = 1

_names = "sky building pole road pavement tree sign fence car pedestrian bicyclist"
_camvid = dict(type="LabelledFolder", classes=_names.split(), void=[11])
data = dict(
    train=dict(images="train/images", labels="train/labels", **_camvid),
    val=dict(images="val/images", labels="val/labels", **_camvid),
    test=dict(images="test/images", labels="test/labels", **_camvid),
    unlabelled=dict(type="ImageFolder", root="train/images"),
)
retrieval = dict(
    grid=8,
    resize=(180, 240),
    k=30,
    temperature=0.02,
    memory=30_000,
    pick="rare",
)
fractions = (0.1,)
blocks = 30
subset_seeds = (0, 1, 2)
seeds = (0, 1, 2)
selection = "first"
pairing = "zip"
