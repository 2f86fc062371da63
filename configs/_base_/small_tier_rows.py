# What the studies of the small tier share: every method beside a control with shuffled pairs. MoCo
# v2 and DenseCL take the settings that the search for small data found (docs/results.md), which the
# PixPro and PixContrast of this tier have too: AdamW, a faster teacher, norms in the heads.
_tier = "r18_1xb32-1000s_streets-96px"
_ours = {
    "optim.type": "AdamW",
    "optim.lr": 2e-3,
    "optim.weight_decay": 0.05,
    "optim.scaling": "none",
    "optim.momentum": None,
    "method.momentum": 0.95,
    "method.head_norm": "bn",
    "method.queue_size": 1024,
}
_dense = {**_ours, "method.dense_queue_size": 2048}
_scaled = ("method.dense_warmup",)
rows = [
    dict(name="MoCo v2", pretrain=f"mocov2_{_tier}", options=_ours),
    dict(name="DenseCL", pretrain=f"densecl_{_tier}", options=_dense, scaled=_scaled),
    dict(name="PixPro", pretrain=f"pixpro_{_tier}"),
    dict(name="PixContrast (re-derived)", pretrain=f"pixcontrast_{_tier}"),
    dict(
        name="PixPro, shuffled pairs",
        pretrain=f"pixpro_{_tier}",
        options={"method.shuffle_pairs": True},
    ),
]
seeds = (0, 1, 2)
budgets = (1000,)
