# MoCo v2, smoke tier: half-width ResNet-18 on the embedded streets, what `make quickstart` runs.
#   densecl pretrain mocov2_r18w32_1xb32-500s_streets-64px
# 53 to 65 s on 2 cores. Views are grey: in the streets colour says nothing about a class,
# and telling pictures apart by their palette is a shortcut that teaches nothing about shape.
_base_ = ["../_base_/runtime.py"]

method = dict(
    type="MoCoV2",
    backbone=dict(type="ResNet", depth=18, width=32, strides=(1, 2, 2, 1)),
    dim=128,
    queue_size=1024,
    temperature=0.2,
    momentum=0.99,
    exclude_same_source=True,
)
views = dict(recipe="mocov2", size=64, num_views=2, grey=1.0)
data = dict(type="Streets", split="pretrain")
loader = dict(batch_size=32)
optim = dict(lr=0.48)
schedule = dict(max_steps=500, warmup_steps=25, type="cosine")
train = dict(amp="auto")
checkpoint = dict(every=100)
