# The embedded streets' scans, part by part, on the voxels that each checkpoint was pretrained on;
# three label subsets, each for one pretraining seed.
version = 1
_scans = dict(type="LidarStreets", cameras=(), compensate=True)
data = dict(
    train=dict(split="train", **_scans),
    val=dict(split="val", length=20, **_scans),
    test=dict(split="test", length=40, **_scans),
    unlabelled=dict(split="pretrain", length=64, clip=2, **_scans),
)
voxels = "from checkpoint"
subset_seeds = (0, 1, 2)
seeds = (0, 1, 2)
selection = "first"
pairing = "zip"
