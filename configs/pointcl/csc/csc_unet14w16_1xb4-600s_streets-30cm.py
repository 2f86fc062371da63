# CSC, small tier: a half-width U-Net on two posed scans of the embedded streets.
#   pointcl pretrain csc_unet14w16_1xb4-600s_streets-30cm
# On your own scans, of any sensor, coordinates are enough; both views are then cut from one scan:
#   pointcl pretrain csc_unet14w16_1xb4-600s_streets-30cm --data FOLDER
# Choose voxels.size for your scans (rooms 0.05, streets 0.1 to 0.3),
# and method.radii_metres of 2 and 20 times that.
_base_ = ["../pointcontrast/pointcontrast_unet14w16_1xb4-600s_streets-30cm.py"]

method = dict(
    _delete_=True,
    type="CSC",
    backbone=dict(type="MinkUNet", depth=14, width=16, in_channels=1),
    max_pairs=2048,
    radii_metres=(0.6, 6.0),
)
views = dict(recipe=dict(base="csc"))
