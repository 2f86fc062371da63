# DenseCL, smoke tier: half-width ResNet-18 on the embedded streets, what `make quickstart` runs.
#   densecl pretrain densecl_r18w32_1xb32-500s_streets-64px
# 53 to 65 s on 2 cores. The dense loss joins after half of the run: matches made on the
# features of the first steps lock in trivial ones (docs/methods/densecl.md).
_base_ = ["../mocov2/mocov2_r18w32_1xb32-500s_streets-64px.py"]

method = dict(type="DenseCL", dense_weight=0.5, dense_queue="local", dense_warmup=250)
