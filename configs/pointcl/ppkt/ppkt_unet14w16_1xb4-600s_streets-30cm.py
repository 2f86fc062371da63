# PPKT, small tier: points against pixels of the ResNet-18 of DenseCL's small tier.
#   densecl pretrain densecl_r18_1xb32-1000s_streets-96px
#   pointcl pretrain ppkt_unet14w16_1xb4-600s_streets-30cm
# The control, a teacher that was never trained: --cfg-options method.teacher=random
# Another teacher: method.teacher=FILE method.teacher_backbone=None
# Scans and pictures are rendered once.
_base_ = ["../slidr/slidr_unet14w16_1xb4-600s_streets-30cm.py"]

method = dict(type="PPKT", max_pairs=4096)
views = dict(pictures=dict(superpixels=None))
