# MoCo v2, small tier: ResNet-18 at 96 px, on 2 cores. On your own pictures add --data FOLDER.
#   densecl pretrain mocov2_r18_1xb32-1000s_streets-96px
_base_ = ["../_base_/runtime.py"]

method = dict(
    type="MoCoV2",
    backbone=dict(type="ResNet", depth=18, strides=(1, 2, 2, 1)),
    dim=128,
    queue_size=2048,
    temperature=0.2,
    momentum=0.99,
    exclude_same_source=True,
)
views = dict(recipe="mocov2", size=96, num_views=2)
data = dict(type="Streets", split="pretrain")
loader = dict(batch_size=32)
optim = dict(lr=0.48)
schedule = dict(max_steps=1000, warmup_steps=50, type="cosine")
train = dict(amp="auto")
