from __future__ import annotations

import numpy as np
import pytest
import torch

from densecl.viz.features import PrincipalColours
from pointcl.data.scan import Scan
from pointcl.viz import colours as c

PALETTE = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90]], np.uint8)


def test_labels_take_their_colour_and_ignored_ones_are_grey():
    found = c.by_label(np.array([2, 255, 0, 2]), PALETTE, ("a", "b", "c"))
    np.testing.assert_array_equal(found.rgb, [PALETTE[2], c.GREY, PALETTE[0], PALETTE[2]])


def test_the_legend_names_what_occurs_most_points_first():
    found = c.by_label(np.array([2, 255, 0, 2]), PALETTE, ("a", "b", "c"))
    assert found.names == ("c", "a")
    assert found.counts == (2, 1)
    np.testing.assert_array_equal(found.swatches, PALETTE[[2, 0]])
    np.testing.assert_array_equal(found.index, [0, -1, 1, 0])


def test_labels_beyond_the_palette_are_refused():
    for label in (3, -1):
        with pytest.raises(ValueError, match="palette has 3"):
            c.by_label(np.array([0, label]), PALETTE)
    with pytest.raises(ValueError, match="2 class names, 3 colours"):
        c.by_label(np.array([0]), PALETTE, ("a", "b"))


def test_a_segment_has_the_same_colour_in_every_picture():
    first = c.by_segment(np.array([7, 3, -1, 7]))
    second = c.by_segment(np.array([100, 7]))
    np.testing.assert_array_equal(first.rgb[0], second.rgb[1])
    np.testing.assert_array_equal(first.rgb[0], first.rgb[3])
    np.testing.assert_array_equal(first.rgb[2], c.GREY)
    assert first.ids.tolist() == [3, 7]
    assert first.index.tolist() == [1, 0, -1, 1]


def test_segments_differ_and_neighbouring_ids_differ_clearly():
    table = c.segment_colours(np.arange(3000)).astype(int)
    assert len(np.unique(table[:1000], axis=0)) == 1000
    assert np.abs(np.diff(table, axis=0)).sum(1).min() > 60
    # none is so near to grey that it looks like no segment
    assert np.ptp(table, axis=1).min() > 25


def test_only_segments_without_ids_are_grey():
    found = c.by_segment(np.full(3, -1))
    np.testing.assert_array_equal(found.rgb, [c.GREY] * 3)
    assert len(found.swatches) == 0


def test_values_run_along_the_ramp_and_are_clipped():
    found = c.by_value(np.array([-5.0, 0, 5, 10, 99, np.nan]), "x", limits=(0, 10))
    table = c.ramp_table("viridis")
    np.testing.assert_array_equal(found.rgb[:5], table[[0, 0, 128, 255, 255]])
    np.testing.assert_array_equal(found.rgb[5], c.GREY)
    assert (found.ramp.low, found.ramp.high) == (0, 10)
    np.testing.assert_array_equal(table[found.index[:5]], found.rgb[:5])
    assert found.index[5] == -1


def test_outliers_do_not_own_the_ramp():
    values = np.append(np.linspace(0, 1, 1000), 1e6)
    found = c.by_value(values, "x")
    assert found.ramp.high < 1.01


@pytest.mark.parametrize("values", [np.zeros(0), np.zeros(3), np.full(2, np.nan)])
def test_a_ramp_of_nothing_or_of_one_value_is_finite(values):
    assert len(c.by_value(values, "x").rgb) == len(values)


def test_unknown_ramps_are_refused():
    with pytest.raises(ValueError, match="turbo, viridis"):
        c.by_value(np.zeros(1), "x", ramp="jet")


def test_ramps_of_intensity_grow_lighter():
    lightness = c.ramp_table("viridis") @ np.array([0.3, 0.59, 0.11])
    assert (np.diff(lightness) > -1).all()
    assert lightness[-1] - lightness[0] > 100


def test_height_is_z():
    points = np.array([[9.0, 9, 0], [0, 0, 1]])
    found = c.by_height(points, limits=(0, 1))
    np.testing.assert_array_equal(found.rgb, found.ramp.table[[0, 255]])


def test_scans_share_the_colours_of_one_basis():
    rows = torch.randn(300, 12, generator=torch.Generator().manual_seed(0))
    basis = PrincipalColours.fit(rows)
    whole = c.by_features(rows.numpy(), basis).rgb
    parts = [c.by_features(part.numpy(), basis).rgb for part in (rows[:100], rows[100:])]
    np.testing.assert_array_equal(whole, np.concatenate(parts))
    assert (c.by_features(rows[:100].numpy()).rgb != parts[0]).any()
    with pytest.raises(ValueError, match="12"):
        basis.apply(rows[:, :5])


def test_a_scan_offers_what_its_data_allow():
    points = np.zeros((3, 3), np.float32)
    assert list(c.modes(Scan(points, 0, "a"))) == ["height"]
    full = Scan(
        points, 0, "a", intensity=np.zeros(3, np.float32), colour=np.zeros((3, 3), np.uint8),
        label=np.array([0, 1, 255]), regions={"cut": np.array([0, -1, 1])},
    )  # fmt: skip
    found = c.modes(full, palette=PALETTE, classes="abc", features={"f": np.random.rand(3, 8)})
    assert list(found) == ["label", "f", "cut", "colour", "height", "intensity"]
    assert found["label"].names == ("a", "b")
    # without a palette classes still differ, and what is ignored is grey
    plain = c.modes(full)["label"].rgb
    assert (plain[0] != plain[1]).any()
    np.testing.assert_array_equal(plain[2], c.GREY)
