# Measures of the frozen features on the embedded streets: alignment, uniformity, rank, position
# leak, outlier norms, and how pure the pairs of each matching are. Seconds a row on 2 cores.
#   densecl transfer measures_streets --checkpoint densecl=work_dirs/.../last.pth
data = dict(
    val=dict(type="Streets", split="val"),
    test=dict(type="Streets", split="test"),
    unlabelled=dict(type="Streets", split="pretrain"),
)
measures = dict(size=(160, 160), purity=True)
seeds = (0, 1, 2)
