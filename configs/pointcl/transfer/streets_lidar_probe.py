# Linear probe of frozen features on the embedded streets' scans, fitted to 5 % of the labels (6 of
# 120 scans), three label subsets; no step is made, and the grid is of the weight decay.
#   pointcl transfer streets_lidar_probe --checkpoint pointcontrast=work_dirs/.../last.pth
# The voxels are those that each checkpoint was pretrained on.
version = 1

_scans = dict(type="LidarStreets", cameras=(), compensate=True)
data = dict(
    train=dict(split="train", **_scans),
    val=dict(split="val", length=20, **_scans),
    test=dict(split="test", length=40, **_scans),
    unlabelled=dict(split="pretrain", length=64, clip=2, **_scans),
)
voxels = "from checkpoint"
probe = dict(points=2000)
decays = (1e-4, 1e-2)
fractions = (0.05,)
subset_seeds = (0, 1, 2)
seeds = (0, 1, 2)
selection = "first"
pairing = "zip"
