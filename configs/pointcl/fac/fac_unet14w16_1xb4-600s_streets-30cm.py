# FAC (our specification), small tier: a half-width U-Net on scans of the embedded streets.
#   pointcl pretrain fac_unet14w16_1xb4-600s_streets-30cm
# On your own scans, of any sensor, coordinates are enough:
#   pointcl pretrain fac_unet14w16_1xb4-600s_streets-30cm --data FOLDER
# Choose voxels.size for your scans (rooms 0.05, streets 0.1 to 0.3)
# and how they are cut into segments: views.segments='indoors' in rooms. Segments are computed as
# scans are loaded; more than a few hundred scans should get theirs once, see `pointcl segments`.
_base_ = ["fac_unet14w8_1xb2-120s_streets-50cm.py"]

method = dict(backbone=dict(width=16), negatives=4096)
views = dict(recipe=dict(crop_points=10000))
voxels = dict(size=0.3, max_voxels=20000)
data = dict(length=512, steps=600)
loader = dict(batch_size=4)
schedule = dict(max_steps=600, warmup_steps=20)
