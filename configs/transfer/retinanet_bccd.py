# Detection of blood cells in microscope photos (BCCD) with RetinaNet, fine-tuned on 20 % of the
# training photos (41 of 205). `--data-root` names the folder that holds JPEGImages/, Annotations/
# and ImageSets/Main/.
#   densecl transfer retinanet_bccd --data-root DIR --checkpoint densecl=FILE
# Two red cells have a box of one point in the files; they are left out. There is one learning rate,
# so nothing is chosen on the photos of val.txt, which are scored.
version = 1

_cells = dict(type="VocBoxes", root=".", classes=["RBC", "WBC", "Platelets"], degenerate="drop")
data = dict(
    train=dict(names="ImageSets/Main/train.txt", **_cells),
    val=dict(names="ImageSets/Main/val.txt", **_cells),
    unlabelled=dict(type="ImageFolder", root="JPEGImages"),
)
detection = dict(
    detector="retinanet",
    channels=64,
    convs=1,
    anchor_scale=4.0,
    steps=150,
    batch_size=8,
    resize=(180, 240),
    crop=(128, 160),
    scale=(0.8, 1.25),
)
learning_rates = (0.002,)
fractions = (0.2,)
subset_seeds = (0, 1, 2)
seeds = (0, 1, 2)
selection = "first"
pairing = "zip"
