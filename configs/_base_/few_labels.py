# What the few-label protocols share, whatever the head: AdamW, colour augmentation, rare classes
# weighed up, three label subsets, each for one pretraining seed.
_base_ = ["three_subsets.py"]

finetune = dict(
    batch_size=8,
    photometric=dict(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, jitter=0.8),
    class_weights="root",
    optimizer="adamw",
    weight_decay=0.01,
    amp="auto",
)
learning_rates = (0.001, 0.003)
