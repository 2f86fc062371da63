# SLidR for detectors, smoke tier: an encoder whose bird's-eye map is read at the points.
#   pointcl pretrain slidr_voxelresnet_1xb2-120s_streets-30cm
# About a minute and a half of one core, beside rendering scans and pictures once. The result goes
# to two libraries, each file with its proof (the residual blocks have no biases, so it fits both):
#   pointcl export work_dirs/slidr_voxelresnet_1xb2-120s_streets-30cm/last.pth --to openpcdet
#   pointcl export work_dirs/slidr_voxelresnet_1xb2-120s_streets-30cm/last.pth --to mmdet3d
# The teacher is UNTRAINED, as in slidr_unet14w8_1xb2-120s_streets-50cm, which says how to give it
# another. The encoder has the published width: OpenPCDet's code fixes it.
_base_ = ["slidr_unet14w8_1xb2-120s_streets-50cm.py"]

method = dict(
    backbone=dict(
        _delete_=True,
        type="VoxelResNet",
        grid_size=(256, 256, 32),
        in_channels=4,
        width=16,
        bias=False,
    ),
    read="bev",
)
views = dict(pictures=dict(superpixels=dict(segments=30)))
voxels = dict(
    size=(0.3, 0.3, 0.2),
    low=(-38.4, -38.4, -3.0),
    high=(38.4, 38.4, 3.4),
    origin="low",
    features=("xyz", "intensity"),
    representative="mean",
)
optim = dict(lr=0.01)
