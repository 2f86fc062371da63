# The streets' LiDAR, smoke tier: every method of points beside scratch and the controls; fine-tuned
# and probed with few labels; tested on towns that nobody has seen.
#   densecl pretrain densecl_r18w32_1xb32-500s_streets-64px
#   pointcl study streets_lidar
# The teacher of SLidR and PPKT is the DenseCL of the first line; another one:
#   pointcl study streets_lidar --cfg-options files.teacher=FILE
# All rows read coordinates alone; the control "points alone" reads the intensity too, it is told
# more. Posed pairs are of 128 scans, the other readings of 64; those with pictures see 256 of them.
# A cell takes 1 to 2 minutes of a core to pretrain, 6 s to fine-tune, 2 s to probe.
# First look: --cfg-options "seeds=[0]"
version = 1
files = dict(teacher="work_dirs/densecl_r18w32_1xb32-500s_streets-64px/last.pth")

_scans = dict(type="LidarStreets", cameras=(), compensate=True)
_posed = dict(split="pretrain", length=64, clip=2, **_scans)
_cameras = ("front", "left", "right", "back")
folds = [
    dict(
        name="streets",
        unlabelled=_posed,
        readings=dict(
            pairs=dict(type="PosedPairs", dataset=_posed),
            single=dict(split="pretrain", length=64, clip=1, **_scans),
            pictures=dict(
                type="LidarStreets",
                split="pretrain",
                length=64,
                clip=1,
                cameras=_cameras,
                camera_size=(96, 128),
            ),
        ),
        train=dict(split="train", **_scans),
        val=dict(split="val", length=20, **_scans),
        test=dict(split="test", length=40, **_scans),
    )
]

_tier = "unet14w8_1xb2-120s_streets-50cm"
_taught = {"method.teacher": "{teacher}", "method.teacher_backbone": None}
rows = [
    dict(name="PointContrast", pretrain=f"pointcontrast_{_tier}", reads="pairs"),
    dict(
        name="PointContrast, hardest",
        pretrain=f"pointcontrast_{_tier}",
        reads="pairs",
        options={"method.loss": "hardest", "method.max_pairs": None},
    ),
    dict(name="CSC", pretrain=f"csc_{_tier}", reads="pairs"),
    dict(name="FAC (our specification)", pretrain=f"fac_{_tier}", reads="single"),
    dict(name="SLidR", pretrain=f"slidr_{_tier}", reads="pictures", options=_taught),
    dict(name="PPKT", pretrain=f"ppkt_{_tier}", reads="pictures", options=_taught),
    dict(name="SLidR, untrained teacher", pretrain=f"slidr_{_tier}", reads="pictures"),
    dict(
        name="SLidR, shuffled pairs",
        pretrain=f"slidr_{_tier}",
        reads="pictures",
        options={**_taught, "method.shuffle_pairs": True},
    ),
]
seeds = (0, 1, 2)
budgets = (360,)
protocols = [
    dict(name="fine-tuning", type="finetune", file="streets_lidar-5pct", fractions=(0.05, 0.1)),
    dict(name="frozen probe", type="probe", fractions=(0.05,), decays=(1e-4, 1e-3, 1e-2)),
]
