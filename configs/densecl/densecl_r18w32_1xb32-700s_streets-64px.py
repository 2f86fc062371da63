# DenseCL, smoke tier: half-width ResNet-18 on the embedded streets, what `make quickstart` runs.
#   densecl pretrain densecl_r18w32_1xb32-700s_streets-64px
_base_ = ["../mocov2/mocov2_r18w32_1xb32-700s_streets-64px.py"]

method = dict(type="DenseCL", dense_weight=0.5, dense_queue="local")
