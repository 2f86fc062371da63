# SLidR, paper tier: the published values (Sautier et al. 2022), nuScenes, one GPU.
#   pointcl pretrain slidr_unet34c_1xb4-50e_nuscenes-10cm \
#       --cfg-options data.root=/data/nuscenes method.teacher=moco_v2_800ep_pretrain.pth.tar
# The authors tune on 600 of the 700 training scenes: data.split=None data.scenes=FILE.
# 34,000 pictures are cut into superpixels in the first epoch, about a second each and worker; they
# are kept below $DENSECL_CACHE.
# Voxels are 10 cm by 1 degree by 10 cm. Intensity is in [0, 1] here, 0 to 255 in the authors' code.
# Published transfer: nuScenes linear probe 38.8 mIoU, 1 % fine-tuning 38.3 (scratch 30.3).
_base_ = ["../_base_/runtime.py"]

method = dict(
    type="SLidR",
    backbone=dict(type="Res16UNet", depth=34, variant="C", in_channels=1, bn_momentum=0.05),
    teacher="moco_v2_800ep_pretrain.pth.tar",
    teacher_backbone=dict(type="ResNet", depth=50),
    teacher_stride=4,
    dim=64,
    temperature=0.07,
)
views = dict(
    recipe="slidr",
    num_views=1,
    pictures=dict(
        size=(224, 416), superpixels=dict(type="Slic", segments=150), min_links=1024, border=0.5
    ),
)
voxels = dict(size=(0.1, 1.0, 0.1), kind="cylindrical", features=("intensity",))
data = dict(type="NuScenes", root="data/nuscenes", split="train", boxes=False)
loader = dict(batch_size=4, num_workers=16)
optim = dict(lr=0.5, momentum=0.9, dampening=0.1, weight_decay=1e-4)
schedule = dict(max_epochs=50, type="cosine")
checkpoint = dict(every=1000)
