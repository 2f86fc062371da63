# PointContrast, smoke tier: a quarter-width U-Net on two posed scans of the embedded streets.
#   pointcl pretrain pointcontrast_unet14w8_1xb2-120s_streets-50cm
# About a minute on 2 cores, with rendering the scans once; at most 4000 voxels a scan.
# Scans stand upright, so views turn about z alone.
_base_ = ["../_base_/runtime.py"]

method = dict(
    type="PointContrast",
    backbone=dict(type="MinkUNet", depth=14, width=8, in_channels=1),
    loss="info_nce",
    max_pairs=1024,
)
views = dict(recipe=dict(base="pointcontrast", axis="z"), flip_x=0.5, flip_y=0.5)
voxels = dict(size=0.5, max_voxels=4000)
data = dict(
    type="PosedPairs",
    dataset=dict(
        type="LidarStreets",
        split="pretrain",
        length=64,
        clip=2,
        gap=5,
        cameras=(),
        compensate=True,
    ),
)
loader = dict(batch_size=2)
schedule = dict(max_steps=120, warmup_steps=5, type="cosine")
