# Few-label segmentation of S3DIS, its 13 classes: 10 % of the rooms of areas 1 to 4, the learning
# rate chosen on area 6, scored on area 5.
#   pointcl transfer s3dis_area5-10pct --data-root DIR --checkpoint pointcontrast=FILE --device cuda
# DIR holds Area_1 to Area_6, as published or prepared. Rooms are cut to 100000 voxels around a
# random point; colours are used where the checkpoint was pretrained with them.
version = 1

data = dict(
    train=dict(type="S3DIS", root=".", areas=[1, 2, 3, 4]),
    val=dict(type="S3DIS", root=".", areas=[6]),
    test=dict(type="S3DIS", root=".", areas=[5]),
    unlabelled=dict(type="S3DIS", root=".", areas=[1, 2, 3, 4], labels=False),
)
voxels = "from checkpoint"
finetune = dict(
    steps=2000,
    batch_size=4,
    max_voxels=100000,
    views=dict(
        angle=180.0,
        tilt=2.8,
        flip_x=0.5,
        flip_y=0.5,
        scale=(0.9, 1.1),
        centre=True,
        elastic_chance=0.95,
        colour_contrast=0.2,
        colour_shift=0.1,
        colour_noise=0.05,
    ),
    class_weights="root",
    optimizer="sgd",
    weight_decay=1e-4,
    schedule="poly",
    eval_batch=1,
)
learning_rates = (0.03, 0.1)
fractions = (0.1,)
subset_seeds = (0, 1, 2)
seeds = (0, 1, 2)
selection = "first"
pairing = "zip"
