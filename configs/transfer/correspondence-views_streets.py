# Where is this cell in the other view? Two augmented views of one picture of the embedded streets,
# MoCo v2's recipe, matched by the largest cosine of frozen features and judged by the views' exact
# geometry. This is what dense contrast trains for; views are drawn once, the same for every row.
#   densecl evaluate CHECKPOINT --protocols correspondence-views_streets
version = 1
data = dict(
    val=dict(type="Streets", split="val", length=100),
    test=dict(type="Streets", split="test", length=100),
    unlabelled=dict(type="Streets", split="pretrain"),
)
correspondence = dict(
    other="view",
    stage_strides=(1, 2, 1, 2),
    strides=(8,),
    recipe="mocov2",
    view_size=(192, 192),
    min_overlap=0.3,
    min_motion=0.0,
    draw=0,
)
seeds = (0, 1, 2)
