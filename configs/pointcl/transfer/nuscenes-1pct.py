# Few-label segmentation of nuScenes-lidarseg, its 16 classes: 1 % of the training scenes (7), whole
# ones, since key frames of a scene are alike; scored on the validation scenes.
#   pointcl transfer nuscenes-1pct --data-root DIR --checkpoint slidr=FILE --device cuda
# DIR holds samples/, lidarseg/ and v1.0-trainval/. There are no public test labels: the learning
# rate is chosen on the scenes that scores are of, which the table says; give two lists of
# validation scenes to part them: --cfg-options data.val.scenes=a.txt data.val.split=None ...
# The loss and the rates are those of SLidR (Sautier et al. 2022: SGD, 0.02 for the backbone and 100
# times that for the head, cross entropy and Lovasz-softmax); published there at 1 %: random 30.3,
# SLidR 38.3.
version = 1

_scans = dict(type="NuScenes", root=".", labels="lidarseg16", cameras=(), boxes=False)
data = dict(
    train=dict(split="train", **_scans),
    val=dict(split="val", **_scans),
    unlabelled=dict(type="NuScenes", root=".", split="train", labels=None, cameras=(), boxes=False),
)
voxels = "from checkpoint"
finetune = dict(
    steps=1700,
    batch_size=16,
    loss="ce+lovasz",
    optimizer="sgd",
    head_lr=100.0,
    weight_decay=1e-4,
    schedule="cosine",
)
learning_rates = (0.01, 0.02)
fractions = (0.01,)
blocks = "sequence"
subset_seeds = (0, 1, 2)
seeds = (0, 1, 2)
selection = "first"
pairing = "zip"
