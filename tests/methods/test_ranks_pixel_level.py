"""PixPro and PixContrast on two processes."""

from __future__ import annotations

import pytest
from methods.ranks import Case, compare

HEADS = {"dim": 8, "hidden": 8, "momentum": 0.9}
PIXPRO = {"type": "PixPro", **HEADS}
PIXCONTRAST = {"type": "PixContrast", **HEADS}
PLAIN = {"head_norm": None}
CASES = {
    "pixpro, group norm": Case({**PIXPRO, **PLAIN}, steps=3),
    "pixpro, group norm, uneven": Case({**PIXPRO, **PLAIN, "instance_weight": 1.0}, counts=(4, 1)),
    "pixpro, frozen": Case({**PIXPRO, "transform_layers": 2}, norm="frozen"),
    "pixpro, cross-process": Case(
        {**PIXPRO, "transform_layers": 2, "instance_weight": 1.0}, norm="sync", steps=3
    ),
    "pixpro, a rank without pairs": Case({**PIXPRO, "last_norm": True}, norm="sync", apart=1),
    "pixcontrast, group norm, uneven": Case({**PIXCONTRAST, **PLAIN}, counts=(4, 2), steps=3),
    "pixcontrast, frozen": Case(PIXCONTRAST, norm="frozen"),
    "pixcontrast, cross-process": Case(PIXCONTRAST, norm="sync", steps=3),
    "pixcontrast, negatives of others, uneven": Case(
        {**PIXCONTRAST, **PLAIN, "negatives": "others"}, counts=(4, 2), steps=3
    ),
    "pixcontrast, a rank without pairs": Case(PIXCONTRAST, norm="sync", apart=1),
}


@pytest.fixture(scope="module")
def runs():
    return compare(CASES)


@pytest.mark.parametrize("name", CASES)
def test_two_processes_make_the_steps_of_one(runs, name):
    runs[name].check()


def test_a_rank_without_pairs_has_loss_zero(runs):
    for method in ("pixpro", "pixcontrast"):
        first, second = runs[f"{method}, a rank without pairs"].ranks
        assert second.losses[0]["pixel"] == 0.0
        assert second.telemetry[0]["pairs_per_image"] == 0.0
        assert first.losses[0]["pixel"] != 0.0
