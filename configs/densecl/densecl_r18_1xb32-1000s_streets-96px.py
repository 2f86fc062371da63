# DenseCL, small tier: ResNet-18 at 96 px, on 2 cores. On your own pictures add --data FOLDER.
#   densecl pretrain densecl_r18_1xb32-1000s_streets-96px
_base_ = ["../mocov2/mocov2_r18_1xb32-1000s_streets-96px.py"]

method = dict(type="DenseCL", dense_weight=0.5, dense_queue="local", dense_warmup=500)
