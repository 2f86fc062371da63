# Where is this cell in the next frame? Matches by the largest cosine of frozen features, judged by
# the embedded streets' exact flow over 0.15 s.
#   densecl evaluate CHECKPOINT --protocols correspondence_streets
# The second frame is cut 16 pixels further right and 12 further down, so that "it has not moved" is
# no answer; pictures are enlarged twice, a cell at stride 8 covers 4 x 4 of their pixels.
version = 1
data = dict(
    val=dict(type="Streets", split="val", length=60, clip_length=2),
    test=dict(type="Streets", split="test", length=60, clip_length=2),
    unlabelled=dict(type="Streets", split="pretrain"),
)
correspondence = dict(
    other="frame",
    resize=(240, 320),
    stage_strides=(1, 2, 1, 2),
    strides=(8,),
    min_motion=0.0,
    shift=(16, 12),
)
seeds = (0, 1, 2)
