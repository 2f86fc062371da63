# A case study on real scans: pretrained on unlabelled sweeps of two sensors, fine-tuned on one
# labelled drive each of SemanticKITTI and nuScenes, parted by time with gaps. Two drives say
# nothing about other drives: no benchmark.
#   python tools/prepare_drives.py SWEEPS DIR
#   pointcl study real_drives --data-root DIR --cfg-options files.teacher=FILE
# DIR holds kitti_raw/ (a drive with image_02), unlabelled/ (sweeps as .bin: those of kitti_raw and
# of the training parts, intensities in [0, 1]) and, in SemanticKITTI's layout with lists of the
# parts, semantic_kitti/ and nuscenes/, the latter with the ids of the ten classes below and 10 =
# ignore. All rows read coordinates alone. The scores of each test sweep, in the order of time, are
# in items.json beside each table.
version = 1
files = dict(teacher="work_dirs/densecl_r18w32_1xb32-500s_streets-64px/last.pth")

_readings = dict(
    unlabelled=dict(type="ScanFolder", root="unlabelled", columns="xyzi"),
    readings=dict(pictures=dict(type="KITTIRaw", root="kitti_raw", poses=False)),
)
_kitti = dict(type="SemanticKITTI", root="semantic_kitti", split=["00"])
_names = "road sidewalk building pole vegetation person two-wheeler car truck bus"
_nuscenes = dict(
    type="SemanticKITTI",
    root="nuscenes",
    split=["00"],
    classes=_names.split(),
    learning_map={**{label: label for label in range(10)}, 10: 255},
    intensity_top=255,
)
_parts = ("train", "val", "test")
folds = [
    dict(
        name=name,
        **_readings,
        **{
            part: dict(type="ScanSubset", dataset=drive, names=f"{drive['root']}/{part}.txt")
            for part in _parts
        },
    )
    for name, drive in (("SemanticKITTI", _kitti), ("nuScenes", _nuscenes))
]

_tier = "unet14w8_1xb2-120s_streets-50cm"
_taught = {"method.teacher": "{teacher}", "method.teacher_backbone": None}
rows = [
    dict(name="FAC (our specification)", pretrain=f"fac_{_tier}"),
    dict(name="SLidR", pretrain=f"slidr_{_tier}", reads="pictures", options=_taught),
    dict(name="PPKT", pretrain=f"ppkt_{_tier}", reads="pictures", options=_taught),
    dict(name="SLidR, untrained teacher", pretrain=f"slidr_{_tier}", reads="pictures"),
]
seeds = (0, 1, 2)
budgets = (240,)
protocols = [
    dict(
        name="fine-tuning",
        type="finetune",
        file="streets_lidar-5pct",
        fractions=(0.3,),
        blocks=4,
        controls=("batchnorm", "permuted", "points"),
    ),
    dict(name="frozen probe", type="probe", fractions=(0.3,), blocks=4, decays=(1e-4, 1e-3, 1e-2)),
]
