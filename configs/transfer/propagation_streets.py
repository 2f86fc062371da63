# Objects of the embedded streets followed through clips of 8 frames, 0.15 s apart, by frozen
# features: every object of 60 pixels or more in the first frame, what stands and what moves.
#   densecl evaluate CHECKPOINT --protocols propagation_streets
# Frames of 120 x 160 are enlarged twice, so that a cell at stride 8 covers 4 x 4 of their pixels.
version = 1
_clips = dict(type="Streets", length=40, clip_length=8)
data = dict(
    val=dict(split="val", **_clips),
    test=dict(split="test", **_clips),
    unlabelled=dict(type="Streets", split="pretrain"),
)
propagation = dict(
    preset="vfs-r18",
    resize=(240, 320),
    short_side=None,
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
    min_pixels=60,
)
seeds = (0, 1, 2)
