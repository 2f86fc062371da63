# SLidR for detectors, paper tier: an encoder whose bird's-eye map is read at the points, nuScenes.
#   pointcl pretrain slidr_voxelresnet_1xb6-50e_nuscenes-10cm \
#       --cfg-options data.root=/data/nuscenes method.teacher=moco_v2_800ep_pretrain.pth.tar
# 30 superpixels a picture, coordinates and intensity as features, a low learning rate.
_base_ = ["slidr_unet34c_1xb4-50e_nuscenes-10cm.py"]

method = dict(
    backbone=dict(
        _delete_=True, type="VoxelResNet", grid_size=(1024, 1024, 40), in_channels=4, width=16
    ),
    read="bev",
)
views = dict(pictures=dict(superpixels=dict(segments=30)))
voxels = dict(
    size=(0.1, 0.1, 0.2),
    kind="cartesian",
    low=(-51.2, -51.2, -5.0),
    high=(51.2, 51.2, 3.0),
    origin="low",
    features=("xyz", "intensity"),
)
loader = dict(batch_size=6)
optim = dict(lr=0.01)
