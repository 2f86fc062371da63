from __future__ import annotations

import numpy as np
import pytest

from densecl.regions import Segments, digest, region_sizes, relabel


def test_relabel_numbers_by_first_appearance_and_keeps_none():
    ids = np.array([[7, 7, -1], [900000, 7, 2], [-5, 2, 900000]])
    assert relabel(ids).tolist() == [[0, 0, -1], [1, 0, 2], [-1, 2, 1]]
    assert relabel(ids).dtype == np.int32


def test_relabel_keeps_the_partition(random):
    ids = random.integers(0, 50, 400).astype(np.uint8)
    new = relabel(ids)
    assert sorted(set(new.tolist())) == list(range(len(set(ids.tolist()))))
    assert ((new[:, None] == new) == (ids[:, None] == ids)).all()


@pytest.mark.parametrize("shape", [(0,), (0, 4)])
def test_nothing_has_no_regions(shape):
    ids = relabel(np.zeros(shape, int))
    assert Segments(ids).num_regions == 0
    assert Segments(np.full((2, 2), -1)).num_regions == 0


def test_sizes_count_pixels_and_leave_none_out():
    assert region_sizes(np.array([0, 2, 2, -1])).tolist() == [1, 0, 2]
    with pytest.raises(ValueError, match="region id -2"):
        region_sizes(np.array([0, -2]))


@pytest.mark.parametrize(
    ("ids", "scores", "levels", "message"),
    [
        ([0, 2], {}, None, "region 1 of 3 is empty"),
        ([0, -2], {}, None, "region id -2"),
        ([0.0], {}, None, "ids are float64"),
        ([[[0]]], {}, None, "of shape"),
        ([0, 1], {"foreground": np.ones(3)}, None, r"foreground is float64 of shape \(3,\) for 2"),
        ([0, 1], {"name": np.array(["a", "b"])}, None, "name is"),
        ([0, 1], {}, np.zeros((1, 2), int), "levels is"),
        ([0, 1], {}, np.zeros(2, int), "levels are"),
    ],
)
def test_what_does_not_fit_is_refused(ids, scores, levels, message):
    with pytest.raises(ValueError, match=message):
        Segments(np.array(ids), scores, levels)


def test_paths_look_the_ancestors_up():
    ids = np.array([[0, 1], [2, -1]])
    tree = Segments(ids, levels=np.array([[0, 0], [0, 1], [1, 2]]))
    assert tree.paths().tolist() == [[[0, 0], [0, 1]], [[1, 2], [-1, -1]]]
    assert Segments(ids).paths().tolist() == [[[0], [1]], [[2], [-1]]]


def test_digest_sees_values_type_and_shape():
    base = np.arange(6, dtype=np.uint8)
    changed = base.copy()
    changed[3] += 1
    others = [changed, base.reshape(2, 3), base.view(np.int8), base[:5]]
    assert len({digest(base), *map(digest, others)}) == 5
    assert digest(base) == digest(np.arange(12, dtype=np.uint8)[:6])
    assert digest(base.reshape(2, 3).T) == digest(base.reshape(2, 3).T.copy())
    assert len({digest(base, None), digest(None, base), digest(base)}) == 3
