# PointContrast with PointInfoNCE, paper tier: the published values (Xie et al. 2020), ScanNet.
#   torchrun --nproc-per-node 8 -m pointcl pretrain \
#       pointcontrast_unet34c_8xb4-60000s_scannet-2.5cm \
#       --cfg-options data.dataset.root=/data/scannet
# The batch of 32 is that of 8 GPUs with 4 pairs each. One device gathers it in 8 parts:
# train.accumulate=8. Every 25th frame of a scene, pairs that overlap by 30 %; measuring that reads
# all frames once, so write the list first and name its folder as data.pairs.
# Three constant ones are the input, so that fine-tuning may put a colour in their place.
_base_ = ["../_base_/runtime.py"]

method = dict(
    type="PointContrast",
    backbone=dict(type="Res16UNet", depth=34, variant="C", in_channels=3, bn_momentum=0.05),
    dim=32,
    loss="info_nce",
    temperature=0.4,
    max_pairs=4096,
    radius=1.5,
)
views = dict(recipe="pointcontrast")
voxels = dict(size=0.025, features=("ones", "ones", "ones"))
data = dict(
    type="PosedPairs",
    dataset=dict(type="RGBDFrames", root="data/scannet", layout="scannet", colour=False),
    stride=25,
    max_gap=None,
    min_overlap=0.3,
)
loader = dict(batch_size=4, num_workers=8)
schedule = dict(max_steps=60000, type="exponential", decay=0.99, decay_every=250)
checkpoint = dict(every=1000)
