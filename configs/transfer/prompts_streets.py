# One point of an object, and all that is like it: segmentation of the embedded streets' objects by
# thresholds on the cosine of frozen features, and how far these tell objects apart.
#   densecl evaluate CHECKPOINT --protocols prompts_streets
# Pictures of 120 x 160 are enlarged twice, so that a cell at stride 8 covers 4 x 4 of their pixels;
# objects of less than 4 cells are skipped and counted.
version = 1
data = dict(
    val=dict(type="Streets", split="val", length=60),
    test=dict(type="Streets", split="test", length=60),
    unlabelled=dict(type="Streets", split="pretrain"),
)
prompts = dict(
    resize=(240, 320),
    stage_strides=(1, 2, 1, 2),
    strides=(8,),
    step=0.02,
    prompts=5,
    min_cells=4.0,
    void=True,
    draw=0,
)
seeds = (0, 1, 2)
