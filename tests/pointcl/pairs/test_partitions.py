"""Cells of space around a point: above, below, near, far, and sectors of angles."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pointcl.pairs.partitions import Partition


def cells(partition, coord):
    rows = torch.arange(len(coord))
    return partition.around(coord)(rows, rows)


def cell_by_hand(kind, offset, near, far, sectors=(2, 2)):
    """One offset, in float64 and plain words."""
    dx, dy, dz = map(float, offset)
    away = math.sqrt(dx * dx + dy * dy + dz * dz)
    if kind == "fast":
        if away <= near or dz == 0:
            return -1
        return (0 if away <= far else 2) + (0 if dz > 0 else 1)
    if away < near:
        return -1
    first = int(math.degrees(math.atan2(dy, dx)) % 360 // (360 / sectors[0]))
    second = int(math.degrees(math.atan2(dy, dz)) % 180 // (180 / sectors[1]))
    shell = 0 if away < far else 1
    return shell * sectors[0] * sectors[1] + first * sectors[1] + second


def points(count=60, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).uniform(-4, 4, (count, 3)))


def test_the_published_matrix_of_three_points():
    coord = torch.tensor([[0.0, 0, 0], [3, 0, 1], [0, 0, -30]])
    found = cells(Partition("fast", 2, 20), coord)
    assert found.tolist() == [[-1, 0, 3], [1, -1, 3], [2, 2, -1]]


@pytest.mark.parametrize("kind", ["fast", "generic"])
@pytest.mark.parametrize("sectors", [(2, 2), (5, 3), (1, 1)])
def test_cells_are_those_of_the_definition(kind, sectors):
    coord = points()
    partition = Partition(kind, 1.0, 3.0, sectors)
    found = cells(partition, coord)
    for i in range(len(coord)):
        for j in range(len(coord)):
            expected = cell_by_hand(kind, coord[j] - coord[i], 1.0, 3.0, sectors)
            assert int(found[i, j]) == expected
    used = set(found.unique().tolist())
    assert used == set(range(-1, partition.num_cells))


@pytest.mark.parametrize(("kind", "count"), [("fast", 4), ("generic", 8)])
def test_the_first_half_of_the_cells_is_the_inner_shell(kind, count):
    partition = Partition(kind, 0.5, 3.0)
    assert partition.num_cells == count
    coord = points()
    away = (coord[:, None] - coord).norm(dim=2)
    found = cells(partition, coord)
    inner = (found >= 0) & (found < count // 2)
    assert bool((away[inner] <= 3.0).all())
    assert bool((away[found >= count // 2] >= 3.0).all())


def test_a_point_is_in_no_cell_of_its_own():
    for kind in ("fast", "generic"):
        assert (cells(Partition(kind, 0.1, 1.0), points()).diagonal() == -1).all()


def test_above_and_below_change_places_when_the_middle_does():
    found = cells(Partition("fast", 0.5, 3.0), points())
    mirrored = torch.tensor([1, 0, 3, 2, -1])[found]
    assert torch.equal(found.T, mirrored)


def test_the_radii_belong_to_the_shells_that_the_code_gives_them_to():
    at = torch.tensor([1.0, 4.0])
    zero = torch.zeros(2)
    assert Partition("fast", 1.0, 4.0).cell_of(zero, zero, at).tolist() == [-1, 0]
    assert Partition("generic", 1.0, 4.0).cell_of(at, zero, zero).tolist() == [0, 4]


def test_what_is_equally_high_is_neither_above_nor_below():
    cell = Partition("fast", 0.5, 3.0).cell_of(torch.ones(1), torch.ones(1), torch.zeros(1))
    assert cell.tolist() == [-1]


def faulty_generic(offset, near, far, sectors):
    """As published: an angle just below 0 rounds to a whole turn, and is sorted elsewhere."""
    dx, dy, dz = offset.float().unbind(1)
    first = torch.fmod(torch.atan2(dy, dx) + 2 * math.pi, 2 * math.pi)
    second = torch.fmod(torch.atan2(dy, dz) + 2 * math.pi, math.pi)
    first = torch.floor(first / (2 * math.pi / sectors[0]))
    second = torch.floor(second / (math.pi / sectors[1]))
    away = torch.sqrt(offset.float().pow(2).sum(1) + 1e-7)
    shell = (away >= far).float().masked_fill(away < near, -1)
    return (shell * sectors[0] * sectors[1] + first * sectors[1] + second).long()


def test_an_angle_just_below_a_whole_turn_stays_in_the_last_sector():
    offset = torch.tensor([[5.0, -y, 5.0] for y in (1e-2, 1e-6, 3e-7, 1e-7, 1e-9, 1e-30)])
    for sectors in ((2, 2), (3, 2), (7, 5)):
        partition = Partition("generic", 1.0, 3.0, sectors)
        last = partition.num_cells - 1
        assert partition.cell_of(*offset.unbind(1)).tolist() == [last] * len(offset)
        wrong = faulty_generic(offset, 1.0, 3.0, sectors)
        assert int(wrong[0]) == last
        assert not set(wrong[2:].tolist()) <= {last}


def faulty_fast(coord, near, far):
    """As first published: below is tested like above, and both against the inner radius."""
    offset = coord[None] - coord[:, None]
    away = torch.sqrt(offset.pow(2).sum(2) + 1e-7)
    up, down = offset[..., 2] > near, offset[..., 2] > near
    cell = torch.full(away.shape, -1)
    for base, shell in ((0, (away > near) & (away <= far)), (2, away > far)):
        cell[shell & up] = base
        cell[shell & down] = base + 1
    return cell


def test_points_below_have_a_cell():
    """The first published code put what lies above into "below" and what lies below nowhere."""
    coord = points()
    right = cells(Partition("fast", 1.0, 3.0), coord)
    wrong = faulty_fast(coord, 1.0, 3.0)
    below = (coord[None] - coord[:, None])[..., 2] < 0
    far_enough = (coord[None] - coord[:, None]).norm(dim=2) > 1.0
    assert ((right[below & far_enough] % 2) == 1).all()
    assert (wrong[below] == -1).all()
    assert not set(wrong.unique().tolist()) & {0, 2}


def test_blocks_are_parts_of_the_whole():
    for kind in ("fast", "generic"):
        around = Partition(kind, 0.5, 3.0).around(points())
        every = torch.arange(60)
        some, other = torch.tensor([7, 3, 3]), torch.tensor([0, 59])
        assert torch.equal(around(some, other), around(every, every)[some][:, other])


def test_centimetres_count_far_from_the_origin():
    coord = torch.tensor([[900.0, 700.0, 1.0], [900.0, 700.0, 1.06], [900.0, 700.0, 0.96]])
    found = cells(Partition("fast", 0.05, 0.5), coord)
    assert found[0].tolist() == [-1, 0, -1]


@pytest.mark.parametrize(
    "change", [{"kind": "ring"}, {"near": 2.0, "far": 1.0}, {"near": -1.0}, {"sectors": (0, 2)}]
)
def test_settings_out_of_range_are_refused(change):
    with pytest.raises(ValueError, match=r"kind|radii|sectors"):
        Partition(**change)
