# PPKT, paper tier: with the values of SLidR's authors (Sautier et al. 2022), nuScenes, one GPU.
#   pointcl pretrain ppkt_unet34c_1xb4-50e_nuscenes-10cm \
#       --cfg-options data.root=/data/nuscenes method.teacher=moco_v2_800ep_pretrain.pth.tar
# The teacher keeps its stride of 32; its maps are read bilinearly at 4096 pixels of a batch.
# Published transfer: nuScenes linear probe 36.4 mIoU, 1 % fine-tuning 37.8 (scratch 30.3).
_base_ = ["../slidr/slidr_unet34c_1xb4-50e_nuscenes-10cm.py"]

method = dict(type="PPKT", max_pairs=4096, teacher_stride=None)
views = dict(pictures=dict(superpixels=None))
