# Masks carried through the videos of DAVIS by frozen features, with VFS's settings for a ResNet-18.
# `--data-root` names the folder that holds JPEGImages/<sequence> and Annotations/<sequence>.
#   densecl evaluate CHECKPOINT --protocols propagation_davis --data-root DIR
# Frames are resized to 240 rows; published numbers are of 480 (short_side=480) and of DAVIS 2017
# (data.val.edition="2017", data.val.names="ImageSets/2017/val.txt", data.val.resolution="480p").
# The circle of 12 cells reaches twice as far across the picture at 240 rows as at 480.
version = 1
data = dict(
    val=dict(type="Davis", root=".", edition="2016"),
    unlabelled=dict(type="ImageFolder", root="JPEGImages"),
)
propagation = dict(
    preset="vfs-r18",
    short_side=240,
    long_multiple=1,
    stage_strides=(1, 2, 1, 2),
    strides=(8,),
    context=20,
    first=True,
    first_twice=True,
    top_k=10,
    temperature=0.07,
    neighbourhood="circle",
    radius=12.0,
)
seeds = (0, 1, 2)
