import pytest
import torch

from densecl.losses.reduction import pair_shares, reduce_rows

WEIGHT = torch.tensor([1.0, 3.0, 2.0, 2.0, 4.0])
ANCHOR = torch.tensor([0, 0, 1, 3, 3])
GROUPS = torch.tensor([5, 5, 5, 7])


@pytest.mark.parametrize(
    ("normaliser", "count", "expected", "divisor"),
    [
        ("pairs", None, [1.0, 3.0, 2.0, 2.0, 4.0], 12.0),
        ("anchors", None, [1 / 4, 3 / 4, 1.0, 2 / 6, 4 / 6], 3.0),
        ("samples", None, [1 / 6, 3 / 6, 2 / 6, 2 / 6, 4 / 6], 2.0),
        ("samples", 8, [1 / 6, 3 / 6, 2 / 6, 2 / 6, 4 / 6], 8.0),
        ("regions", None, [1 / 6, 3 / 6, 2 / 6, 2 / 6, 4 / 6], 2.0),
    ],
)
def test_shares_by_hand(normaliser, count, expected, divisor):
    share, mass = pair_shares(WEIGHT, ANCHOR, normaliser, GROUPS, count)
    assert share.tolist() == pytest.approx(expected)
    assert mass.item() == divisor


def test_rows_of_no_group_count_nothing():
    groups = torch.tensor([5, -1, 5, -1])
    share, mass = pair_shares(WEIGHT, ANCHOR, "regions", groups)
    assert share.tolist() == pytest.approx([1 / 4, 3 / 4, 0.0, 0.0, 0.0])
    assert mass.item() == 1.0


def test_a_row_of_no_group_does_not_enter_group_zero():
    share, _ = pair_shares(WEIGHT, ANCHOR, "regions", torch.tensor([0, -1, 0, -1]))
    assert share.tolist() == pytest.approx([1 / 4, 3 / 4, 0.0, 0.0, 0.0])


def test_no_pair_has_no_share():
    none = torch.zeros(0)
    for normaliser in ("pairs", "anchors", "samples"):
        share, mass = pair_shares(none, none.long(), normaliser, GROUPS)
        assert len(share) == 0
        assert mass.item() == 0.0


def test_reductions_agree():
    values = torch.tensor([1.0, 2.0, 6.0])
    assert torch.equal(reduce_rows(values, 3, "none"), values)
    assert reduce_rows(values, 3, "sum").item() == 9.0
    assert reduce_rows(values, 3, "mean").item() == 3.0
    total, mass = reduce_rows(values, 3, "parts")
    assert (total.item(), mass.item()) == (9.0, 3.0)


def test_a_mass_below_one_still_divides():
    assert reduce_rows(torch.tensor([0.25]), 0.5, "mean").item() == 0.5


def test_unknown_options_are_refused():
    with pytest.raises(ValueError, match="reduction"):
        reduce_rows(WEIGHT, 1, "avg")
    with pytest.raises(ValueError, match="normaliser"):
        pair_shares(WEIGHT, ANCHOR, "images")
    with pytest.raises(ValueError, match="groups"):
        pair_shares(WEIGHT, ANCHOR, "samples")
