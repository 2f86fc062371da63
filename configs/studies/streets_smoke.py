# The streets, smoke tier: the study of `streets_small` with networks and budgets of minutes.
#   densecl study streets_smoke
_base_ = ["streets_small.py"]

_tier = "r18w32_1xb32-500s_streets-64px"
rows = [
    dict(name="MoCo v2", pretrain=f"mocov2_{_tier}"),
    dict(name="DenseCL", pretrain=f"densecl_{_tier}", scaled=("method.dense_warmup",)),
    dict(name="PixPro", pretrain=f"pixpro_{_tier}"),
    dict(name="PixContrast (re-derived)", pretrain=f"pixcontrast_{_tier}"),
    dict(
        name="PixPro, shuffled pairs",
        pretrain=f"pixpro_{_tier}",
        options={"method.shuffle_pairs": True},
    ),
]
budgets = (500,)
