# SLidR, smoke tier: a quarter-width U-Net looks at four small cameras of the embedded streets.
#   pointcl pretrain slidr_unet14w8_1xb2-120s_streets-50cm
# The teacher is UNTRAINED: random weights show that everything runs, not what SLidR can do. Give it
# the network of a 2D run, here that of DenseCL's smoke tier:
#   densecl pretrain densecl_r18w32_1xb32-500s_streets-64px
#   pointcl pretrain slidr_unet14w8_1xb2-120s_streets-50cm --cfg-options \
#       method.teacher=work_dirs/densecl_r18w32_1xb32-500s_streets-64px/last.pth
# In so few steps the paper's learning rate of 0.5 learns less than 0.1 (loss 5.4 and 5.3 after 60).
# About a minute on 2 cores, with rendering scans and pictures once; about 2000 voxels a scan.
_base_ = ["../_base_/runtime.py"]

method = dict(
    type="SLidR",
    backbone=dict(type="MinkUNet", depth=14, width=8, in_channels=1),
    teacher="random",
    teacher_backbone=dict(type="ResNet", depth=18, width=32),
    teacher_stride=8,
    dim=32,
)
views = dict(
    recipe="slidr",
    num_views=1,
    pictures=dict(
        size=(80, 112), superpixels=dict(type="Slic", segments=80, sigma=1.0), min_links=256
    ),
)
voxels = dict(size=0.5)
data = dict(
    type="LidarStreets",
    split="pretrain",
    length=64,
    clip=1,
    cameras=("front", "left", "right", "back"),
    camera_size=(96, 128),
)
loader = dict(batch_size=2)
optim = dict(lr=0.1, momentum=0.9, dampening=0.1)
schedule = dict(max_steps=120, warmup_steps=5, type="cosine")
