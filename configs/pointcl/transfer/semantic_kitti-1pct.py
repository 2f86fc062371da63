# Few-label segmentation of SemanticKITTI, its 19 classes: 1 % of the scans of the training drives,
# scored on drive 08; the benchmark's own test drives have no labels, so a complete table takes the
# learning rate from a part of the training drives that no subset is drawn from.
#   pointcl transfer semantic_kitti-1pct --data-root DIR --checkpoint slidr=FILE --device cuda
# DIR holds sequences/00 to sequences/10, each with velodyne/ and labels/. The loss and the rates
# are those of SLidR (Sautier et al. 2022: SGD, 0.05 for the backbone and 40 times that for the
# head, cross entropy and Lovasz-softmax); published there at 1 %: random 39.5, SLidR 44.6.
version = 1

data = dict(
    train=dict(
        type="SemanticKITTI",
        root=".",
        split=["00", "01", "02", "03", "04", "05", "06", "07", "09"],
    ),
    val=dict(type="SemanticKITTI", root=".", split=["10"]),
    test=dict(type="SemanticKITTI", root=".", split=["08"]),
    unlabelled=dict(type="SemanticKITTI", root=".", split="train", labels=False),
)
voxels = "from checkpoint"
finetune = dict(
    steps=2000,
    batch_size=10,
    loss="ce+lovasz",
    optimizer="sgd",
    head_lr=40.0,
    weight_decay=1e-4,
    schedule="cosine",
)
learning_rates = (0.02, 0.05)
fractions = (0.01,)
subset_seeds = (0, 1, 2)
seeds = (0, 1, 2)
selection = "first"
pairing = "zip"
