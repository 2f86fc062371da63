"""Time of pairing two clouds: ours against scipy and open3d, each proven equal.

    OMP_NUM_THREADS=1 python tools/benchmarks/pairs3d.py

Prints two Markdown tables of medians in milliseconds of processor time: all pairs within a radius,
and the nearest one. Everybody builds his tree or hash anew, as training does with each sample.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial

import numpy as np
import timing
import torch
from scipy.spatial import cKDTree

from densecl.pairs import PointSet
from pointcl.pairs import match_rigid

VOXEL = 0.025
RADIUS = 1.5 * VOXEL
Rows = tuple[np.ndarray, np.ndarray]
Form = Callable[[], Rows]


def room(count: int, seed: int) -> np.ndarray:
    """(N, 3) points on the walls, the floor and the ceiling of a room, one voxel apart or so."""
    random = np.random.default_rng(seed)
    # area grows with the count: the number of partners of a point stays that of a scan
    size = np.array([1.0, 0.8, 0.4]) * np.sqrt(count / 3.1) * VOXEL
    points = random.uniform(0, 1, (count, 3)) * size
    side = random.integers(0, 6, count)
    axis = side // 2
    points[np.arange(count), axis] = np.where(side % 2, size[axis], 0.0)
    return points


def rows_of(points: np.ndarray) -> PointSet:
    """One cloud as rows."""
    sample = torch.zeros(len(points), dtype=torch.int64)
    return PointSet({}, sample, torch.from_numpy(points), num_samples=1, frame=("world", "m"))


def ours(src: PointSet, dst: PointSet, nearest: bool, search: str) -> Rows:
    """``match_rigid``; its pairs are sorted."""
    pairs = match_rigid(src, dst, radius=RADIUS, nearest=nearest, search=search)
    return pairs.src.numpy(), pairs.dst.numpy()


def distance_matrix(a: np.ndarray, b: np.ndarray) -> Rows:
    """scipy, all pairs at once."""
    found = cKDTree(a).sparse_distance_matrix(cKDTree(b), RADIUS, output_type="ndarray")
    return found["i"], found["j"]


def query_ball(a: np.ndarray, b: np.ndarray) -> Rows:
    """scipy, a list of neighbours for each point."""
    found = cKDTree(b).query_ball_point(a, RADIUS)
    return np.repeat(np.arange(len(a)), [len(part) for part in found]), np.concatenate(found)


def query(a: np.ndarray, b: np.ndarray) -> Rows:
    """scipy, the nearest neighbour."""
    distance, found = cKDTree(b).query(a, distance_upper_bound=RADIUS)
    near = np.isfinite(distance)
    return near.nonzero()[0], found[near]


def open3d_fixed(a: np.ndarray, b: np.ndarray) -> Rows:
    """open3d, all pairs at once."""
    import open3d

    search = open3d.core.nns.NearestNeighborSearch(open3d.core.Tensor(b))
    search.fixed_radius_index(RADIUS)
    found, _, ends = search.fixed_radius_search(open3d.core.Tensor(a), RADIUS)
    return np.repeat(np.arange(len(a)), np.diff(ends.numpy())), found.numpy()


def open3d_hybrid(a: np.ndarray, b: np.ndarray) -> Rows:
    """open3d, the nearest neighbour."""
    import open3d

    search = open3d.core.nns.NearestNeighborSearch(open3d.core.Tensor(b))
    search.hybrid_index(RADIUS)
    found, _, count = search.hybrid_search(open3d.core.Tensor(a), RADIUS, 1)
    near = count.numpy().reshape(-1) > 0
    return near.nonzero()[0], found.numpy().reshape(-1)[near]


def same(width: int, *results: Rows) -> str:
    """``yes`` if all results hold the same pairs.

    Raises:
        AssertionError: they do not.
    """
    keys = [np.sort(i.astype(np.int64) * width + j) for i, j in results]
    for other in keys[1:]:
        assert np.array_equal(other, keys[0]), "other pairs"
    return "yes"


def row(count: int, forms: dict[str, Form | None], rounds: int) -> list[object]:
    """One line of a table: size, pairs, times, equal."""
    present = {name: form for name, form in forms.items() if form is not None}
    results = [form() for form in present.values()]
    spent = timing.alternate(present, rounds)
    times = [spent[name].cpu if name in spent else "-" for name in forms]
    return [f"{count:,}", f"{len(results[0][0]):,}", *times, same(count, *results)]


def main(arguments: list[str] | None = None) -> None:
    """Print both tables."""
    options = timing.parser(__doc__).parse_args(arguments)
    timing.prepare(options)
    with_open3d = importlib.util.find_spec("open3d") is not None
    sizes = (40, 300) if options.quick else (5_000, 20_000, 87_000)
    every, nearest = [], []
    for count in sizes:
        a, b = room(count, 0), room(count, 1)
        sets = rows_of(a), rows_of(b)
        forms: dict[str, Form | None] = {
            "ours (tree)": partial(ours, *sets, False, "tree"),
            "ours (hash)": partial(ours, *sets, False, "hash"),
            "scipy matrix": partial(distance_matrix, a, b),
            "scipy ball": partial(query_ball, a, b),
            "open3d": partial(open3d_fixed, a, b) if with_open3d else None,
        }
        every.append(row(count, forms, options.rounds))
        forms = {
            "ours (tree)": partial(ours, *sets, True, "tree"),
            "ours (hash)": partial(ours, *sets, True, "hash"),
            "scipy query": partial(query, a, b),
            "open3d": partial(open3d_hybrid, a, b) if with_open3d else None,
        }
        nearest.append(row(count, forms, options.rounds))
    head = ["points", "pairs", "ours (tree)", "ours (hash)", "scipy matrix", "scipy ball", "open3d"]
    timing.table("All pairs within 1.5 voxels, CPU ms", [*head, "equal"], every)
    head = ["points", "pairs", "ours (tree)", "ours (hash)", "scipy query", "open3d"]
    timing.table("Nearest within 1.5 voxels, CPU ms", [*head, "equal"], nearest)


if __name__ == "__main__":
    main()
