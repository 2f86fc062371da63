# CSC, paper tier: the published values (Hou et al. 2021 and its launch script), ScanNet.
#   torchrun --nproc-per-node 8 -m pointcl pretrain \
#       csc_unet34c_8xb4-100000s_scannet-2.5cm \
#       --cfg-options data.dataset.root=/data/scannet
# The batch of 32 is that of 8 GPUs with 4 pairs each. One device gathers it in 8 parts:
# train.accumulate=8. Every 25th frame of a scene, pairs that overlap by 30 %; measuring that reads
# all frames once, so write the list first and name its folder as data.pairs.
# The script's radii are 2 and 20 voxels. The colour is the input.
# Published transfer: ScanNet val mIoU 73.8 (with 20 % of the scenes 64.1), S3DIS area 5 72.2.
_base_ = ["../_base_/runtime.py"]

method = dict(
    type="CSC",
    backbone=dict(type="Res16UNet", depth=34, variant="C", in_channels=3, bn_momentum=0.05),
    dim=32,
    temperature=0.4,
    max_pairs=4096,
    radius=1.5,
    partition="fast",
    radii_metres=(0.05, 0.5),
    weight_inner=False,
    world_space=True,
)
views = dict(recipe="csc")
voxels = dict(size=0.025, features=("colour",))
data = dict(
    type="PosedPairs",
    dataset=dict(type="RGBDFrames", root="data/scannet", layout="scannet", colour=True),
    stride=25,
    max_gap=None,
    min_overlap=0.3,
)
loader = dict(batch_size=4, num_workers=8)
schedule = dict(max_steps=100000, type="exponential", decay=0.99, decay_every=1000)
checkpoint = dict(every=1000)
