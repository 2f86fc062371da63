# Linear probe of frozen features on the embedded streets, with 1, 5 and 25 % of the labels (4, 20
# and 100 of 400 frames): no step is made, and the grid is of the weight decay. Seconds a run.
#   densecl transfer probe_streets --checkpoint densecl=work_dirs/.../last.pth
version = 1

data = dict(
    train=dict(type="Streets", split="train"),
    val=dict(type="Streets", split="val"),
    test=dict(type="Streets", split="test"),
    unlabelled=dict(type="Streets", split="pretrain"),
)
probe = dict(grid=8)
decays = (1e-5, 1e-3, 0.1, 1.0)
fractions = (0.01, 0.05, 0.25)
subset_seeds = (0, 1, 2)
seeds = (0, 1, 2)
selection = "first"
pairing = "zip"
