# PixPro, small tier: ResNet-18 at 96 px, on 2 cores. On your own pictures add --data FOLDER; it is
# what `densecl pretrain --data FOLDER` runs: frozen, after short runs, its features were worth more
# than those of MoCo v2 and DenseCL (docs/results.md).
#   densecl pretrain pixpro_r18_1xb32-1000s_streets-96px
_base_ = ["../_base_/runtime.py"]

method = dict(
    type="PixPro",
    backbone=dict(type="ResNet", depth=18, strides=(1, 2, 2, 1)),
    dim=256,
    last_norm=True,
    momentum=dict(kind="cosine", start=0.95, end=1.0),
)
views = dict(recipe="mocov2", size=96, num_views=2)
data = dict(type="Streets", split="pretrain")
loader = dict(batch_size=32)
optim = dict(_delete_=True, type="AdamW", lr=2e-3, weight_decay=0.05, scaling="none")
schedule = dict(max_steps=1000, warmup_steps=50, type="cosine")
train = dict(amp="auto")
