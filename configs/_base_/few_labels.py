# What the few-label protocols share, whatever the head: AdamW, colour augmentation, rare classes
# weighed up, three label subsets, each for one pretraining seed.
version = 1
finetune = dict(
    batch_size=8,
    photometric=dict(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, jitter=0.8),
    class_weights="root",
    optimizer="adamw",
    weight_decay=0.01,
    amp="auto",
)
learning_rates = (0.001, 0.003)
subset_seeds = (0, 1, 2)
seeds = (0, 1, 2)
selection = "first"
pairing = "zip"
