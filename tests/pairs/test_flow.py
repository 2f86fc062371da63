from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from densecl.pairs import Pairs, PointSet, image_frame, match_by_flow
from densecl.views.geometry import Affine

BOXES = [(0.0, 0.0, 56.0, 56.0), (5.0, 2.0, 40.0, 50.0)]


def as_list(pairs: Pairs) -> list:
    return list(zip(pairs.src.tolist(), pairs.dst.tolist(), strict=True))


def oracle(src, dst, target, max_distance) -> list:
    """Nearest dst cell of each moved row, in cells, by loops in float64."""
    found = []
    for i in range(len(src)):
        if not src.valid_mask()[i] or target[i].isnan().any():
            continue
        best = (float("inf"), -1)
        for j in range(len(dst)):
            if src.sample[i] == dst.sample[j]:
                gap = (target[i] - dst.coord[j]).double()
                cells = torch.linalg.solve(dst.cell[j].double().T, gap)
                best = min(best, (round(float(cells.norm()), 9), j))
        if best[0] <= max_distance and dst.valid_mask()[best[1]]:
            found.append((i, best[1]))
    return found


def row_flow(points: PointSet, scale: float, seed: int = 0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    flow = torch.randn(len(points), 2, generator=g) * scale
    flow[torch.rand(len(points), generator=g) < 0.2] = torch.nan
    return flow


def test_still_frames_pair_like_identity(make_map):
    a, b = make_map(BOXES), make_map(BOXES, frame=image_frame(1))
    flow = torch.zeros(2, 56, 56, 2)
    assert as_list(match_by_flow(a, b, flow)) == [(i, i) for i in range(98)]


def test_motion_by_whole_cells_shifts_the_cells(make_map):
    a, b = make_map(BOXES[:1]), make_map(BOXES[:1], frame=image_frame(1))
    flow = torch.tensor([16.0, -8.0]).expand(1, 56, 56, 2)
    expected = [(i * 7 + j, (i - 1) * 7 + j + 2) for i in range(1, 7) for j in range(5)]
    assert as_list(match_by_flow(a, b, flow)) == expected


@pytest.mark.parametrize("max_distance", [0.3, 0.71, 2.0])
def test_flipped_crops_agree_with_loops(make_map, max_distance, gen):
    valid = torch.rand(2, 2, 56, 56, generator=gen) < 0.8
    a = make_map(BOXES, shape=(6, 5), flips=[True, False], valid=valid[0])
    b = make_map(
        BOXES[::-1], shape=(4, 7), flips=[True, True], frame=image_frame(1), valid=valid[1]
    )
    flow = row_flow(a, 6.0)
    expected = oracle(a, b, a.coord + flow, max_distance)
    assert as_list(match_by_flow(a, b, flow, max_distance=max_distance)) == expected
    listed = replace(b, grid=None)
    assert as_list(match_by_flow(a, listed, flow, max_distance=max_distance)) == expected


def test_sheared_views_agree_with_loops():
    geometry = Affine(torch.tensor([[[1.0, 0.6, 3.0], [-0.2, 0.8, 9.0]]]))
    features = {"f": torch.zeros(1, 1, 5, 4)}
    size = (20, 20)
    a = PointSet.from_map(features, geometry=None, size=size)
    b = PointSet.from_map(features, geometry=geometry, size=size, frame=image_frame(1))
    flow = row_flow(a, 4.0)
    expected = oracle(a, b, a.coord + flow, 1.2)
    assert len(expected) > 5
    for dst in (b, replace(b, grid=None)):
        assert as_list(match_by_flow(a, dst, flow, max_distance=1.2)) == expected


def test_lists_in_any_order_find_the_same_cells(make_map, shuffled):
    a, b = make_map(BOXES), make_map(BOXES[::-1], frame=image_frame(1))
    flow = row_flow(a, 5.0)
    expected = match_by_flow(a, b, flow)
    lb, place = shuffled(b, 3)
    moved = [(i, int(place[j])) for i, j in as_list(expected)]
    assert as_list(match_by_flow(a, lb, flow)) == moved


def test_a_flow_map_is_read_at_the_cell(make_map):
    a, b = make_map(BOXES), make_map(BOXES, frame=image_frame(1))
    flow = torch.full((2, 56, 56, 2), torch.nan)
    flow[1, 12, 20] = 0.0  # the pixel that holds the centre of cell (1, 2): (20, 12)
    assert as_list(match_by_flow(a, b, flow)) == [(49 + 9, 49 + 9)]


def test_targets_between_two_cells_take_the_lower_row(make_map):
    a, b = make_map(BOXES[:1]), make_map(BOXES[:1], frame=image_frame(1))
    flow = torch.tensor([4.0, 0.0]).expand(49, 2)
    for dst in (b, replace(b, grid=None)):
        assert as_list(match_by_flow(a, dst, flow)) == [(i, i) for i in range(49)]


def test_flow_out_of_the_view_has_no_pair(make_map):
    a, b = make_map(BOXES[:1]), make_map(BOXES[:1], frame=image_frame(1))
    for far in (500.0, torch.nan, torch.inf):
        assert len(match_by_flow(a, b, torch.full((1, 56, 56, 2), far))) == 0


def test_frames_have_to_follow_each_other(make_map):
    a, b = make_map(BOXES), make_map(BOXES, frame=image_frame(2))
    flow = torch.zeros(2, 56, 56, 2)
    for src, dst in ((a, a), (a, b), (b, a)):
        with pytest.raises(ValueError, match="flow leads from"):
            match_by_flow(src, dst, flow)
    with pytest.raises(ValueError, match="units"):
        match_by_flow(a, replace(a, frame=("image@1", "share")), flow)


def test_wrong_flow_is_refused(make_map):
    a, b = make_map(BOXES), make_map(BOXES, frame=image_frame(1))
    with pytest.raises(ValueError, match="flow"):
        match_by_flow(a, b, torch.zeros(3, 56, 56, 2))
    with pytest.raises(ValueError, match="flow"):
        match_by_flow(a, b, torch.zeros(97, 2))
    with pytest.raises(ValueError, match="complete 2D map"):
        match_by_flow(replace(a, grid=None), b, torch.zeros(2, 56, 56, 2))


def test_empty_sets(make_map):
    a, b = make_map(BOXES), make_map(BOXES, frame=image_frame(1))
    none = b.select(torch.zeros(98, dtype=torch.bool))
    assert len(match_by_flow(a, none, torch.zeros(98, 2))) == 0
