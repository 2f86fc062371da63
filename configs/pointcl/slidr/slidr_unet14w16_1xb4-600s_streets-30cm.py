# SLidR, small tier: a half-width U-Net learns from the ResNet-18 of DenseCL's small tier.
#   densecl pretrain densecl_r18_1xb32-1000s_streets-96px
#   pointcl pretrain slidr_unet14w16_1xb4-600s_streets-30cm
# The control, a teacher that was never trained: --cfg-options method.teacher=random
# Another teacher: method.teacher=FILE method.teacher_backbone=None
# Scans and pictures are rendered once.
_base_ = ["slidr_unet14w8_1xb2-120s_streets-50cm.py"]

method = dict(
    backbone=dict(width=16),
    teacher="work_dirs/densecl_r18_1xb32-1000s_streets-96px/last.pth",
    teacher_backbone=dict(width=64),
    dim=64,
)
voxels = dict(size=0.3)
data = dict(length=512, steps=600)
loader = dict(batch_size=4)
schedule = dict(max_steps=600, warmup_steps=20)
