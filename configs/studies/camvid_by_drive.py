# CamVid by drive: pretrain without the test drive, fine-tune on the other drives with few labels,
# test on all of the drive; three folds, three seeds. A case study of three drives, no benchmark.
#   python tools/prepare_camvid.py CAMVID LISTS
#   densecl study camvid_by_drive --data-root LISTS
# One fold alone: --only test_0001TP; one method alone: --rows DenseCL. `--dry-run` says how long:
# on 2 cores pretraining is most of it. First look: --cfg-options "budgets=[250]" "seeds=[0]"
_base_ = ["../_base_/small_tier_rows.py"]

version = 1

_names = "sky building pole road pavement tree sign fence car pedestrian bicyclist"
unlabelled = dict(type="ImageList", root="camvid")
labelled = dict(type="LabelledList", root="camvid", classes=_names.split(), void=[11])
folds = [
    dict(
        name=_fold,
        unlabelled=f"{_fold}/unlabelled.txt",
        train=f"{_fold}/train.txt",
        val=f"{_fold}/val.txt",
        test=f"{_fold}/test.txt",
    )
    for _fold in ("test_0001TP", "test_0006R0", "test_0016E5")
]

_finetuning = dict(
    type="finetune",
    file="upernet_camvid-10pct",
    finetune=dict(steps=200, crop=(96, 128)),
    blocks=50,
)
protocols = [
    dict(name="UPerNet", fractions=(0.1,), controls=("scratch-long", "permuted"), **_finetuning),
    dict(name="UPerNet, half the labels", fractions=(0.05,), controls=("permuted",), **_finetuning),
    dict(name="frozen probe", type="probe", fractions=(0.1,), blocks=50, resize=(180, 240)),
]
