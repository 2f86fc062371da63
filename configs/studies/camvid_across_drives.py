# CamVid across drives: the map from features to classes is fitted to photos of one drive and scored
# on another. Pretraining saw both, so what is lost is the map's, not that of unseen photos. The
# third drive, which `camvid_by_drive` tests on, is not read; a cell pretrained there serves here.
#   python tools/prepare_camvid.py CAMVID LISTS
#   densecl study camvid_across_drives --data-root LISTS
# With --no-test the same maps are scored on other blocks of the drive that they were fitted to.
_base_ = ["camvid_by_drive.py"]

_drives = ("0001TP", "0006R0", "0016E5")
folds = [
    dict(
        name=f"{_own} to {_other}",
        unlabelled=f"test_{_third}/unlabelled.txt",
        train=f"test_{_third}/train_{_own}.txt",
        val=f"test_{_third}/val_{_own}.txt",
        test=f"test_{_third}/val_{_other}.txt",
        transductive=True,
    )
    for _third in _drives
    for _own in _drives
    for _other in _drives
    if len({_third, _own, _other}) == len(_drives)
]
rows = [
    *_base_.rows,
    dict(
        name="PixContrast, negatives of other photos",
        pretrain="pixcontrast_r18_1xb32-1000s_streets-96px",
        options={"method.negatives": "others"},
    ),
]
protocols = [
    dict(name="frozen probe", type="probe", fractions=(0.25,), blocks=10, resize=(180, 240)),
]
