from __future__ import annotations

import pytest
import torch

from densecl.pairs import Keys, PointSet


def test_keys_of_points_carry_their_ids(ragged):
    rows = ragged()
    keys = Keys.from_points(rows, "f", region="region")
    assert torch.equal(keys.sample, rows.sample)
    assert torch.equal(keys.source, rows.source)
    assert torch.equal(keys.region, rows.regions["region"])
    assert torch.equal(keys.live, rows.valid)
    with pytest.raises(ValueError, match="hard ids"):
        Keys.from_points(rows, "f", region="tree")


def test_only_live_drops_rows_with_their_ids():
    keys = Keys(torch.eye(3), torch.arange(3), live=torch.tensor([True, False, True]))
    kept = keys.only_live()
    assert kept.sample.tolist() == [0, 2]
    assert torch.equal(kept.feature, torch.eye(3)[[0, 2]])
    assert kept.live is None


def test_cat_marks_what_a_part_does_not_know():
    batch = Keys(torch.eye(2), torch.arange(2), bias=torch.ones(2))
    queue = Keys(torch.eye(2), source=torch.tensor([5, 6]), live=torch.tensor([True, False]))
    both = Keys.cat([batch, queue])
    assert both.sample.tolist() == [0, 1, -1, -1]
    assert both.source.tolist() == [-1, -1, 5, 6]
    assert both.live.tolist() == [True, True, True, False]
    assert both.bias.tolist() == [1, 1, 0, 0]
    assert both.region is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sample": torch.zeros(4, dtype=torch.int64)}, r"sample \(4,\).*feature \(3, 2\)"),
        ({"live": torch.ones(3)}, "live must be"),
        ({"source": torch.tensor([0, 1, -2])}, "source must be >= -1"),
        ({"bias": torch.ones(3, 1)}, "bias must be a float tensor with 1"),
        ({"feature": torch.zeros(3, 2, dtype=torch.int64)}, "feature must be a float"),
    ],
)
def test_wrong_keys_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        Keys(**{"feature": torch.zeros(3, 2), **change})


def test_no_keys_are_legal():
    none = Keys(torch.zeros(0, 4), live=torch.zeros(0, dtype=torch.bool))
    assert len(none) == len(none.only_live()) == 0
    assert len(PointSet(fields={}, sample=torch.zeros(0, dtype=torch.int64))) == 0
