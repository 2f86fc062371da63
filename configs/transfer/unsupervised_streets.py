# Unsupervised segmentation of the embedded streets: k-means with as many clusters as classes on the
# scored frames' own features, matched to the classes one to one.
#   densecl transfer unsupervised_streets --checkpoint densecl=work_dirs/.../last.pth
# The streets have no background class: a cluster without a class is right nowhere.
version = 1

data = dict(
    val=dict(type="Streets", split="val"),
    test=dict(type="Streets", split="test"),
    unlabelled=dict(type="Streets", split="pretrain"),
)
overclustering = dict(
    grid=8,
    clusters=None,
    matching="hungarian",
    unmatched="wrong",
    components=50,
    mask=(100, 100),
    seeds=(0, 1, 2, 3, 4),
)
seeds = (0, 1, 2)
