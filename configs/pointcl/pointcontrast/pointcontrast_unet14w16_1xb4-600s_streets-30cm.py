# PointContrast, small tier: a half-width U-Net on two posed scans of the embedded streets.
#   pointcl pretrain pointcontrast_unet14w16_1xb4-600s_streets-30cm
# On your own scans, of any sensor, coordinates are enough; both views are then cut from one scan:
#   pointcl pretrain pointcontrast_unet14w16_1xb4-600s_streets-30cm --data FOLDER
# Choose voxels.size for your scans: rooms 0.05, streets 0.1 to 0.3.
# Lost points and beams make two views of one scan differ by more than a turn.
_base_ = ["pointcontrast_unet14w8_1xb2-120s_streets-50cm.py"]

method = dict(backbone=dict(width=16), max_pairs=4096)
views = dict(point_dropout=(0.0, 0.4), beam_dropout=(0.0, 0.2))
voxels = dict(size=0.3, max_voxels=20000)
data = dict(dataset=dict(length=512))
loader = dict(batch_size=4)
schedule = dict(max_steps=600, warmup_steps=20)
