# FAC (our specification), paper tier: rooms of ScanNet. The authors publish no loss and none of its
# settings; what they share with PointContrast, whose optimiser and length these are, is the data.
#   pointcl segments build ScanNet:data/scannet --method normal_graph --out data/scannet-segments
#   torchrun --nproc-per-node 8 -m pointcl pretrain \
#       fac_unet34c_8xb4-60000s_scannet-2.5cm \
#       --cfg-options data.dataset.root=data/scannet data.store=data/scannet-segments
# The batch of 32 is that of 8 GPUs with 4 rooms each. One device gathers it in 8 parts:
# train.accumulate=8. Segments are computed once, here, and kept in a store.
_base_ = ["../_base_/runtime.py"]

method = dict(
    type="FAC",
    backbone=dict(type="Res16UNet", depth=34, variant="C", in_channels=3, bn_momentum=0.05),
    dim=64,
    temperature=0.2,
    anchors=16,
    negatives=4096,
    top=3,
)
views = dict(recipe="fac")
voxels = dict(size=0.025, features=("colour",))
data = dict(
    type="WithSegments",
    dataset=dict(type="ScanNet", root="data/scannet", labels=False),
    store="data/scannet-segments",
    method=dict(type="NormalGraph"),
)
loader = dict(batch_size=4, num_workers=8)
schedule = dict(max_steps=60000, type="exponential", decay=0.99, decay_every=250)
checkpoint = dict(every=1000)
