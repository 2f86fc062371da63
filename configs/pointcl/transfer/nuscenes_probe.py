# Linear probe of frozen features on nuScenes-lidarseg, its 16 classes: every tenth scene, whole
# ones; no step is made, and the grid is of the weight decay.
#   pointcl transfer nuscenes_probe --data-root DIR --checkpoint slidr=FILE
# DIR holds samples/, lidarseg/ and v1.0-trainval/. The map reads all levels of the backbone and is
# fitted to at most 200000 points, so its numbers do not compare with published probes, which read
# the last level alone and train a head by gradient on all scans (strides=(1,) reads that level).
version = 1

_scans = dict(type="NuScenes", root=".", labels="lidarseg16", cameras=(), boxes=False)
data = dict(
    train=dict(split="train", **_scans),
    val=dict(split="val", **_scans),
    unlabelled=dict(type="NuScenes", root=".", split="train", labels=None, cameras=(), boxes=False),
)
voxels = "from checkpoint"
probe = dict(points=2000, max_points=200000)
decays = (1e-4, 1e-2)
fractions = (0.1,)
blocks = "sequence"
subset_seeds = (0, 1, 2)
seeds = (0, 1, 2)
selection = "first"
pairing = "zip"
