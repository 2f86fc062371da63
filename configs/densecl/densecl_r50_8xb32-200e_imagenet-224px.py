# DenseCL, paper tier: the published values (Wang et al. 2021), ImageNet, 200 epochs.
#   torchrun --nproc_per_node 8 tools/train.py densecl_r50_8xb32-200e_imagenet-224px \
#       --data /data/imagenet/train
# 8 GPUs of 12 GB or more. Published transfer: VOC detection AP 58.7, VOC segmentation mIoU 69.4.
_base_ = ["../mocov2/mocov2_r50_8xb32-200e_imagenet-224px.py"]

method = dict(type="DenseCL", dense_weight=0.5, dense_queue="pooled")
