# FAC (our specification), smoke tier: a quarter-width U-Net on scans of the embedded streets.
#   pointcl pretrain fac_unet14w8_1xb2-120s_streets-50cm
# About a minute on 2 cores, with rendering and segmenting the scans once; at most 4000 voxels a
# scan. Two views of one scan; segments are clusters of what stands on the ground.
_base_ = ["../_base_/runtime.py"]

method = dict(
    type="FAC",
    backbone=dict(type="MinkUNet", depth=14, width=8, in_channels=1),
    anchors=16,
    negatives=1024,
)
views = dict(
    recipe=dict(base="fac", crop_points=4000),
    segments=dict(type="Dbscan", eps=0.5, eps_per_metre=0.03, min_points=5),
)
voxels = dict(size=0.5, max_voxels=4000)
data = dict(type="LidarStreets", split="pretrain", length=64, cameras=(), compensate=True)
loader = dict(batch_size=2)
schedule = dict(max_steps=120, warmup_steps=5, type="cosine")
