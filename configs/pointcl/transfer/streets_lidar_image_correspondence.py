# Which cell of the picture shows this point? A ridge regression leads from frozen features of
# points to those of a frozen picture network; a point takes the most similar cell of the front
# camera's picture. It is fitted to the training scans and their pictures; no label is read.
#   densecl pretrain densecl_r18_1xb32-1000s_streets-96px
#   pointcl transfer streets_lidar_image_correspondence --controls points batchnorm permuted \
#       --checkpoint slidr=work_dirs/.../last.pth
# Another picture network: --cfg-options image_correspondence.teacher=FILE; an untrained one:
# image_correspondence.teacher=random. Read each row against that of the points alone: a picture
# network leaks where its cells are, and (x, y, z) tells where a point shows.
version = 1
_scans = dict(type="LidarStreets", clip=1, cameras=("front",), compensate=True)
data = dict(
    train=dict(split="train", length=60, **_scans),
    val=dict(split="val", length=20, **_scans),
    test=dict(split="test", length=40, **_scans),
    unlabelled=dict(split="pretrain", length=64, **_scans),
)
voxels = "from checkpoint"
image_correspondence = dict(
    teacher="work_dirs/densecl_r18_1xb32-1000s_streets-96px/last.pth",
    teacher_stride=8,
    points=500,
    decay=1e-3,
)
seeds = (0, 1, 2)
