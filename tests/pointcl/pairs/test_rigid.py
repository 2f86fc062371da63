from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from densecl.pairs import PointSet
from pointcl.data.scan import Scan
from pointcl.pairs import match_rigid, match_same_voxel
from pointcl.sensors.pose import compose, inverse, move, pose_from_quaternion
from pointcl.sparse import VoxelGrid, voxelise
from pointcl.views import CloudBatch, CloudViewGenerator

SEARCHES = ("auto", "tree", "hash", "all")


def as_list(pairs) -> list:
    return list(zip(pairs.src.tolist(), pairs.dst.tolist(), strict=True))


def usable(points: PointSet, row: int) -> bool:
    return bool(points.valid[row]) and bool(points.coord[row].isfinite().all())


def oracle(src: PointSet, dst: PointSet, radius: float, nearest: bool = False) -> list:
    """All pairs by loops, in float64."""
    ends = [
        [
            (row, int(points.sample[row]), points.coord[row].tolist())
            for row in range(len(points))
            if usable(points, row)
        ]
        for points in (src, dst)
    ]
    found = []
    for i, sample, here in ends[0]:
        near = [(math.dist(here, there), j) for j, other, there in ends[1] if other == sample]
        near = sorted(pair for pair in near if pair[0] < radius)
        found += [(i, j) for j in sorted(j for _, j in (near[:1] if nearest else near))]
    return found


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("seed", range(3))
def test_all_pairs_agree_with_loops(cloud_rows, search, seed):
    a, b = cloud_rows(seed, 60), cloud_rows(seed + 10, 80)
    for radius in (0.2, 0.7, 9.0):
        assert as_list(match_rigid(a, b, radius=radius, search=search)) == oracle(a, b, radius)


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("seed", range(3))
def test_nearest_and_mutual_agree_with_loops(cloud_rows, search, seed):
    a, b = cloud_rows(seed, 60), cloud_rows(seed + 10, 80)
    for radius in (0.2, 0.7, 9.0):
        there = oracle(a, b, radius, nearest=True)
        back = {(i, j) for j, i in oracle(b, a, radius, nearest=True)}
        options = {"radius": radius, "search": search}
        assert as_list(match_rigid(a, b, nearest=True, **options)) == there
        both = [pair for pair in there if pair in back]
        assert as_list(match_rigid(a, b, mutual=True, **options)) == both


@pytest.mark.parametrize("search", SEARCHES)
def test_equally_near_rows_give_the_lowest(search):
    # a lattice against its cell centres: eight neighbours, all equally near
    axis = torch.arange(4.0)
    lattice = torch.cartesian_prod(axis, axis, axis)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    a = PointSet(
        {}, torch.zeros(27, dtype=torch.int64), torch.cartesian_prod(*[axis[:3]] * 3) + 0.5
    )
    b = PointSet({}, torch.zeros(64, dtype=torch.int64), lattice[order])
    every = match_rigid(a, b, radius=1.0, search=search)
    assert every.per_row().tolist() == [8] * 27
    lowest = [min(j for i, j in as_list(every) if i == row) for row in range(27)]
    assert match_rigid(a, b, radius=1.0, nearest=True, search=search).dst.tolist() == lowest


@pytest.mark.parametrize("search", SEARCHES)
def test_coordinates_far_from_the_origin_and_thin_clouds(search):
    g = torch.Generator().manual_seed(0)
    place = torch.rand(200, 3, generator=g, dtype=torch.float64) * torch.tensor([4.0, 4.0, 0.0])
    sample = torch.zeros(200, dtype=torch.int64)
    near = PointSet({}, sample, place, valid=sample == 0)
    far = replace(near, coord=place + torch.tensor([5e5, -3e6, 40.0]))
    expected = as_list(match_rigid(near, near, radius=0.3, search="all"))
    assert as_list(match_rigid(far, far, radius=0.3, search=search)) == expected


def test_a_radius_of_any_size_fits_the_hash():
    g = torch.Generator().manual_seed(0)
    coord = torch.rand(50, 3, generator=g, dtype=torch.float64) * 1e6
    points = PointSet({}, torch.zeros(50, dtype=torch.int64), torch.cat([coord[:25]] * 2))
    pairs = match_rigid(points, points, radius=1e-3, search="hash")
    assert as_list(pairs) == [(i, j) for i in range(50) for j in sorted((i % 25, i % 25 + 25))]


def test_permuted_rows_give_the_permuted_pairs(cloud_rows):
    a, b = cloud_rows(0), cloud_rows(1)
    order = torch.randperm(len(a), generator=torch.Generator().manual_seed(2))
    expected = {(i, j) for i, j in as_list(match_rigid(a, b, radius=0.7))}
    moved = match_rigid(a.select(order), b, radius=0.7)
    assert {(int(order[i]), j) for i, j in as_list(moved)} == expected


def wall(seed: int = 0, n: int = 300, **extra) -> Scan:
    points = np.random.default_rng(seed).uniform((-20, -20, -2), (20, 20, 2), (n, 3))
    return Scan(points.astype(np.float32), source=3, name="wall", **extra)


def rows(scans, recipe, **options) -> list[PointSet]:
    views = CloudViewGenerator(recipe, **options)(scans, 0)
    return [CloudBatch.collate([view]).to_point_set() for view in views]


@pytest.mark.parametrize("recipe", ["none", "pointcontrast", "csc"])
def test_two_views_of_one_scan_pair_each_point_with_itself(recipe):
    a, b = rows(wall(), recipe)
    pairs = match_rigid(a, b, radius=0.01)
    assert as_list(pairs) == [(i, i) for i in range(300)]


def test_cropped_and_dropped_views_pair_what_both_still_show():
    recipe = {"base": "slidr", "scale": (0.5, 2.0), "max_points": 200, "drop": (0.2, 0.4)}
    a, b = rows(wall(), recipe)
    pairs = match_rigid(a, b, radius=0.005)
    shared = np.intersect1d(a.index, b.index)
    assert len(pairs) == len(shared) > 50
    assert torch.equal(a.index[pairs.src], b.index[pairs.dst])


def test_a_known_motion_of_the_sensor_pairs_the_same_places():
    world = wall().points.astype(np.float64) + np.array([4000.0, -900.0, 10.0])
    poses = [pose_from_quaternion((1, 0, 0, 0), (4000, -900, 9))]
    poses.append(compose(pose_from_quaternion((0.9, 0.1, 0.2, np.sqrt(0.14))), poses[0]))
    poses[1][:3, 3] += (3, 2, 0.5)
    order = np.random.default_rng(1).permutation(300)
    scans = [
        Scan(move(inverse(pose), world[take]).astype(np.float32), k, str(k), ego_to_world=pose)
        for k, (pose, take) in enumerate(zip(poses, (np.arange(300), order), strict=True))
    ]
    a, b = rows(scans, "pointcontrast")
    pairs = match_rigid(a, b, radius=0.01)
    assert pairs.dst.tolist() == np.argsort(order).tolist()
    a, b = rows(scans, "pointcontrast", frame="scan")
    with pytest.raises(ValueError, match="different frames"):
        match_rigid(a, b, radius=0.01)


def test_places_apart_have_no_pair():
    far = replace(wall(), ego_to_world=pose_from_quaternion((1, 0, 0, 0), (500, 0, 0)))
    here = replace(wall(), ego_to_world=np.eye(4))
    a, b = rows([here, far], "pointcontrast")
    for options in ({}, {"nearest": True}, {"mutual": True}, {"max_per_row": 2}):
        pairs = match_rigid(a, b, radius=0.5, **options)
        assert len(pairs) == 0
        assert (pairs.num_src, pairs.num_dst) == (300, 300)


def test_representatives_of_voxels_are_paired_within_the_radius():
    views = CloudViewGenerator("pointcontrast", seed=2)(wall(n=2000), 0)
    batches = [CloudBatch.collate([view]) for view in views]
    grid = VoxelGrid(0.5)
    sets = [batch.to_point_set({}, voxelise(batch.clouds, grid)) for batch in batches]
    pairs = match_rigid(*sets, radius=0.75)
    raw = [torch.from_numpy(wall(n=2000).points[s.index.numpy()]).double() for s in sets]
    apart = torch.cdist(raw[0], raw[1])
    expected = (apart < 0.75).nonzero()
    sure = (apart - 0.75).abs() > 1e-4
    assert sure.float().mean() > 0.99
    assert (match_rigid(*sets, radius=0.75).contains(*expected.T) | ~sure[tuple(expected.T)]).all()
    assert ((apart < 0.75) | ~sure)[pairs.src, pairs.dst].all()


def test_at_most_some_partners_of_each_row(cloud_rows):
    a, b = cloud_rows(0), cloud_rows(1)
    every = match_rigid(a, b, radius=1.0)
    seen = set()
    for seed in range(30):
        g = torch.Generator().manual_seed(seed)
        few = match_rigid(a, b, radius=1.0, max_per_row=2, generator=g)
        assert torch.equal(few.per_row(), every.per_row().clamp(max=2))
        assert torch.equal(few.key(), few.key().unique())
        seen |= set(as_list(few))
    assert seen == set(as_list(every))


def test_the_same_voxel_agrees_with_loops(cloud_rows):
    a, b = cloud_rows(0), cloud_rows(1)
    a = replace(a, coord=a.coord - 1.5)
    b = replace(b, coord=b.coord - 1.5)
    expected = [
        (i, j)
        for i in range(len(a))
        for j in range(len(b))
        if a.sample[i] == b.sample[j]
        and usable(a, i)
        and usable(b, j)
        and (a.coord[i].double() / 0.6).floor().equal((b.coord[j].double() / 0.6).floor())
    ]
    assert as_list(match_same_voxel(a, b, size=0.6)) == expected
    few = match_same_voxel(a, b, size=0.6, max_per_row=1)
    assert set(as_list(few)) <= set(expected)
    assert few.per_row().max() == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frame": ("world", "m")}, "different frames"),
        ({"num_samples": 9}, "num_samples differ"),
        ({"coord": None}, r"coord of shape \(N, 3\), got None"),
        ({"coord": torch.zeros(60, 2)}, r"got \(60, 2\)"),
    ],
)
def test_sets_that_cannot_be_compared_are_refused(cloud_rows, change, message):
    a = cloud_rows()
    for match, option in ((match_rigid, "radius"), (match_same_voxel, "size")):
        with pytest.raises(ValueError, match=message):
            match(a, replace(a, **change), **{option: 1.0})
        with pytest.raises(ValueError, match="positive"):
            match(a, a, **{option: 0.0})
