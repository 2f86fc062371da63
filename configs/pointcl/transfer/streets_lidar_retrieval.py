# Retrieval on the embedded streets' scans, with 5 % and all of the labels (6 and 120 scans): each
# point takes the vote of its 30 nearest labelled points, by the cosine of the backbone's maps of
# all levels, read at the points and laid side by side. Nothing is trained.
#   pointcl transfer streets_lidar_retrieval --checkpoint pointcontrast=work_dirs/.../last.pth
# Coordinates and intensity alone, z-scored, are a row of it: --controls points
# A scan has about 4000 points: the memory holds nearly all of 6 scans, or 170 of each of 120. Its
# size decides the number, so scores of other sizes do not compare.
version = 1

_scans = dict(type="LidarStreets", cameras=(), compensate=True)
data = dict(
    train=dict(split="train", **_scans),
    val=dict(split="val", length=20, **_scans),
    test=dict(split="test", length=40, **_scans),
    unlabelled=dict(split="pretrain", length=64, clip=2, **_scans),
)
voxels = "from checkpoint"
retrieval = dict(k=30, temperature=0.02, memory=20_000)
fractions = (0.05, 1.0)
subset_seeds = (0, 1, 2)
seeds = (0, 1, 2)
selection = "first"
pairing = "zip"
