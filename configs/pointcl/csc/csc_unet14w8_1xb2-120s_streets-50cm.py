# CSC, smoke tier: a quarter-width U-Net on two posed scans of the embedded streets.
#   pointcl pretrain csc_unet14w8_1xb2-120s_streets-50cm
# About a minute on 2 cores, with rendering the scans once; at most 4000 voxels a scan.
# Scans stand upright, so views turn about z alone. The inner shell begins at 2 voxels and ends at
# 20, as in the paper.
_base_ = ["../pointcontrast/pointcontrast_unet14w8_1xb2-120s_streets-50cm.py"]

method = dict(
    _delete_=True,
    type="CSC",
    backbone=dict(type="MinkUNet", depth=14, width=8, in_channels=1),
    max_pairs=1024,
    radii_metres=(1.0, 10.0),
)
views = dict(recipe=dict(base="csc", tilt=0.0))
