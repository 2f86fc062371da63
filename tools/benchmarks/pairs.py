"""Time of building pairs: ours against the mask form and a loop, each proven equal.

    python tools/benchmarks/pairs.py [--threads 1] [--repeats 5]

Prints two Markdown tables. Times are medians in milliseconds, on the CPU.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch.nn import functional as F

from densecl.pairs import PointSet, match_by_distance, match_by_similarity
from densecl.views.geometry import Affine

RADIUS = 0.7
Rows = tuple[torch.Tensor, torch.Tensor]


def crops(batch: int, cells: int, channels: int, seed: int) -> PointSet:
    """Random flipped crops of 60 to 134 pixels a side of a 224-pixel image."""
    g = torch.Generator().manual_seed(seed)
    corner = torch.rand(batch, 2, generator=g) * 90
    far = corner + 60 + torch.rand(batch, 2, generator=g) * 74
    flips = (torch.rand(batch, generator=g) < 0.5).tolist()
    boxes = torch.cat([corner, far], 1).tolist()
    geometry = [
        Affine.from_crop(box, (224, 224), hflip=flip)
        for box, flip in zip(boxes, flips, strict=True)
    ]
    features = torch.randn(batch, channels, cells, cells, generator=g)
    return PointSet.from_map({"f": features}, geometry=Affine.stack(geometry), size=(224, 224))


def by_distance(src: PointSet, dst: PointSet, search: str) -> Rows:
    """Ours."""
    pairs = match_by_distance(src, dst, radius=RADIUS, search=search)
    return pairs.src, pairs.dst


def by_similarity(src: PointSet, dst: PointSet) -> Rows:
    """Ours."""
    pairs = match_by_similarity(src, dst, field="f")
    return pairs.src, pairs.dst


def by_mask(src: PointSet, dst: PointSet) -> Rows:
    """The published form: a (B, hw, hw) mask of distances."""
    assert src.coord is not None
    assert dst.coord is not None
    assert src.cell is not None
    assert dst.cell is not None
    batch, n, m = src.num_samples, len(src) // src.num_samples, len(dst) // dst.num_samples
    gap = src.coord.reshape(batch, n, 1, 2) - dst.coord.reshape(batch, 1, m, 2)
    a = src.cell.flatten(1).norm(dim=1).reshape(batch, n, 1)
    b = dst.cell.flatten(1).norm(dim=1).reshape(batch, 1, m)
    limit = torch.maximum(a, b) * RADIUS
    near = gap[..., 0] * gap[..., 0] + gap[..., 1] * gap[..., 1] < limit * limit
    image, i, j = near.nonzero(as_tuple=True)
    return image * n + i, image * m + j


def by_loop(src: PointSet, dst: PointSet) -> Rows:
    """Two nested loops in Python."""
    assert src.coord is not None
    assert dst.coord is not None
    assert src.cell is not None
    assert dst.cell is not None
    a, b = src.coord.tolist(), dst.coord.tolist()
    size_a = src.cell.flatten(1).norm(dim=1).tolist()
    size_b = dst.cell.flatten(1).norm(dim=1).tolist()
    n, m = len(src) // src.num_samples, len(dst) // dst.num_samples
    found = []
    for i in range(len(src)):
        first = i // n * m
        for j in range(first, first + m):
            x, y = a[i][0] - b[j][0], a[i][1] - b[j][1]
            if x * x + y * y < (max(size_a[i], size_b[j]) * RADIUS) ** 2:
                found.append((i, j))
    pairs = torch.tensor(found, dtype=torch.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def by_argmax(src: PointSet, dst: PointSet) -> Rows:
    """All scores of the batch at once, then argmax."""
    a, b = (F.normalize(s.fields["f"], dim=1).unflatten(0, (s.num_samples, -1)) for s in (src, dst))
    best = torch.bmm(a, b.transpose(1, 2)).argmax(2)
    best = best + torch.arange(dst.num_samples).unsqueeze(1) * b.shape[1]
    return torch.arange(len(src)), best.reshape(-1)


def measure(run: Callable[[], Rows], repeats: int) -> tuple[float, Rows]:
    """Median milliseconds and the result."""
    result = run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = run()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3, result


def table(title: str, head: list[str], rows: list[list[str]]) -> None:
    """Print one Markdown table."""
    print(f"\n{title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def same(*results: Rows) -> str:
    """``yes`` if all results hold the same pairs in the same order."""
    first = results[0]
    equal = all(torch.equal(r[0], first[0]) and torch.equal(r[1], first[1]) for r in results)
    return "yes" if equal else "**no**"


def main() -> None:
    """Run both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    rows = []
    for batch, cells in ((8, 7), (64, 7), (64, 14), (16, 28), (4, 56)):
        a, b = crops(batch, cells, 1, 0), crops(batch, cells, 1, 1)

        grid, result = measure(partial(by_distance, a, b, "grid"), options.repeats)
        tree, tree_result = measure(partial(by_distance, a, b, "tree"), options.repeats)
        mask, mask_result = measure(partial(by_mask, a, b), options.repeats)
        results = [result, tree_result, mask_result]
        loop = "-"
        if batch * cells**4 < 100_000:
            loop_time, loop_result = measure(partial(by_loop, a, b), 1)
            loop = f"{loop_time:.1f}"
            results.append(loop_result)
        times = [f"{t:.1f}" for t in (grid, tree, mask)]
        name = f"{batch} x {cells} x {cells}"
        rows.append([name, str(len(result[0])), *times, loop, same(*results)])
    head = ["maps", "pairs", "ours (grid)", "ours (any points)", "mask", "loop", "equal"]
    table(f"Pairs by distance, radius {RADIUS} cell diagonals, ms", head, rows)

    rows = []
    for batch, cells, channels in ((64, 7, 2048), (16, 14, 512), (8, 28, 256), (2, 56, 128)):
        a, b = crops(batch, cells, channels, 0), crops(batch, cells, channels, 1)

        time_ours, result = measure(partial(by_similarity, a, b), options.repeats)
        time_full, full = measure(partial(by_argmax, a, b), options.repeats)
        name = f"{batch} x {cells} x {cells} x {channels}"
        scores = f"{batch * cells**4 * 4 / 2**20:.0f} MiB"
        rows.append([name, f"{time_ours:.1f}", f"{time_full:.1f}", scores, same(result, full)])
    head = ["maps", "ours (blocks, exact ties)", "all scores + argmax", "all scores", "equal"]
    table("Pairs by similarity, ms", head, rows)


if __name__ == "__main__":
    main()
