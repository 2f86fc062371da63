# Where is this point in the next scan? Matches by the largest cosine of frozen features, judged by
# the poses of the embedded streets over half a second. Nothing is trained and no label is read.
#   pointcl transfer streets_lidar_correspondence --checkpoint pointcontrast=work_dirs/.../last.pth
# The second scan is turned by 40 degrees before it is cut into voxels, so that "it has not moved"
# is no answer. Recall is in voxels of the checkpoint: scores of two voxel sizes do not compare.
version = 1
_scans = dict(type="LidarStreets", cameras=(), compensate=True, clip=2, gap=5)
data = dict(
    val=dict(
        type="PosedPairs",
        dataset=dict(split="val", length=40, **_scans),
        pairs=[(first, first + 1) for first in range(0, 40, 2)],
    ),
    test=dict(
        type="PosedPairs",
        dataset=dict(split="test", length=80, **_scans),
        pairs=[(first, first + 1) for first in range(0, 80, 2)],
    ),
    unlabelled=dict(split="pretrain", length=64, **_scans),
)
voxels = "from checkpoint"
correspondence = dict(points=2000, candidates=5000, turn=40.0)
seeds = (0, 1, 2)
