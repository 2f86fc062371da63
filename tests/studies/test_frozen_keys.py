"""Hashes of cells are kept for good: results of days of computing are found by them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from densecl.engine.config import ROOTS
from densecl.studies import plan_study, read_study
from densecl.studies.pretraining import Pretraining
from densecl.transfer.cells import digest

FROZEN = Path(__file__).with_name("frozen_keys.json")
STUDY = """
_streets = dict(type="Streets", size=(48, 64), cache=False)
folds = [
    dict(
        name="streets",
        unlabelled=dict(split="pretrain", length=8, **_streets),
        train=dict(split="train", length=8, **_streets),
        val=dict(split="val", length=3, **_streets),
        test=dict(split="test", length=3, **_streets),
    )
]
"""
SMOKE = """
_tiny = {"method.backbone.width": 4, "views.size": 32, "loader.batch_size": 4}
_smoke = "r18w32_1xb32-500s_streets-64px"
rows = [
    dict(name="MoCo v2", pretrain=f"mocov2_{_smoke}", options=_tiny),
    dict(name="DenseCL", pretrain=f"densecl_{_smoke}", options=_tiny,
         scaled=("method.dense_warmup",)),
]
seeds = (0, 1)
budgets = (2, 4)
protocols = [
    dict(name="frozen probe", type="probe", fractions=(0.25, 0.5), iterations=5,
         decays=(1e-4, 1e-2), resize=(24, 32), strides=(4, 8)),
    dict(name="FCN", type="finetune", fractions=(0.5,), budgets=(4,),
         finetune=dict(steps=4, batch_size=2, channels=8, crop=(32, 32)),
         learning_rates=(0.01, 0.03)),
    dict(name="UPerNet", type="finetune", file="upernet_streets-5pct", fractions=(0.5,)),
    dict(name="every", type="probe", every=3, rows=["DenseCL"], subset_seeds=(0, 1)),
]
"""
SMALL_TIER = """
_base_ = [{base!r}]
protocols = [dict(name="frozen probe", type="probe", fractions=(0.25,))]
"""


def keys(text: str, tmp_path: Path, monkeypatch) -> dict[str, str]:
    """Label of each cell -> its hash, as if every pretraining were done."""
    monkeypatch.setattr("torch.__version__", "0")
    monkeypatch.setattr(Pretraining, "fingerprint", lambda self: f"state:{self.key}")
    (tmp_path / "frozen.py").write_text(STUDY + text)
    plan = plan_study(read_study(tmp_path / "frozen.py"), tmp_path / "out", "cpu")
    found = {
        f"pretrain {name} {steps} seed {seed}": cell.key
        for cells in plan.pretraining.values()
        for (name, steps), by_seed in cells.items()
        for seed, cell in by_seed.items()
    }
    for table in plan.tables:
        study = table.study
        for row in study.rows:
            every = [
                study.cell(row, pair, rate).key()
                for pair in study.pairs
                for rate in study.protocol.learning_rates
            ]
            found[f"{table.label} {row.name}"] = digest(every)
    return found


@pytest.mark.parametrize("name", ["smoke", "small tier"])
def test_the_hash_of_every_cell_is_what_it_was(name, tmp_path, monkeypatch):
    base = next(path for root in ROOTS for path in root.glob("_base_/small_tier_rows.py"))
    text = SMOKE if name == "smoke" else SMALL_TIER.format(base=str(base))
    assert keys(text, tmp_path, monkeypatch) == json.loads(FROZEN.read_text())[name]
