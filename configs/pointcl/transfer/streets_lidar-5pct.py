# Few-label segmentation of the embedded streets' scans: a sparse U-Net fine-tuned on 5 % of the
# labels (6 of 120 scans), three label subsets. A run takes about 10 s of one core.
#   pointcl transfer streets_lidar-5pct --checkpoint pointcontrast=work_dirs/.../last.pth
# The voxels are those that each checkpoint was pretrained on.
_base_ = ["../_base_/streets_lidar.py"]

finetune = dict(
    steps=60,
    batch_size=2,
    views=dict(angle=180.0, flip_x=0.5, flip_y=0.5, scale=(0.95, 1.05)),
    class_weights="root",
    optimizer="adamw",
    weight_decay=0.01,
)
learning_rates = (0.01, 0.03, 0.1)
fractions = (0.05,)
