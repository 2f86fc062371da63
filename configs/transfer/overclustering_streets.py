# Over-clustering on the embedded streets: k-means with 300 clusters on the scored frames' own
# features, each cluster named by the class most of its pixels have. No label is learned from.
#   densecl transfer overclustering_streets --checkpoint densecl=work_dirs/.../last.pth
# The number of clusters decides the number: more clusters score higher, whatever the features.
version = 1

data = dict(
    val=dict(type="Streets", split="val"),
    test=dict(type="Streets", split="test"),
    unlabelled=dict(type="Streets", split="pretrain"),
)
overclustering = dict(
    grid=8,
    clusters=300,
    matching="greedy",
    components=50,
    mask=(100, 100),
    seeds=(0, 1, 2, 3, 4),
)
seeds = (0, 1, 2)
