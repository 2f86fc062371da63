"""Time of building pairs: ours against the mask form and a loop, each proven equal.

    OMP_NUM_THREADS=1 python tools/benchmarks/pairs.py

Prints two Markdown tables of medians in milliseconds of processor time.
"""

from __future__ import annotations

from functools import partial

import timing
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


def same(*results: Rows) -> str:
    """``yes`` if all results hold the same pairs in the same order.

    Raises:
        AssertionError: they do not.
    """
    first = results[0]
    for other in results[1:]:
        assert torch.equal(other[0], first[0]), "other rows"
        assert torch.equal(other[1], first[1]), "other partners"
    return "yes"


def main(arguments: list[str] | None = None) -> None:
    """Print both tables."""
    options = timing.parser(__doc__).parse_args(arguments)
    timing.prepare(options)
    sizes = ((2, 3), (1, 5)) if options.quick else ((8, 7), (64, 7), (64, 14), (16, 28), (4, 56))
    rows = []
    for batch, cells in sizes:
        a, b = crops(batch, cells, 1, 0), crops(batch, cells, 1, 1)
        forms = {
            "grid": partial(by_distance, a, b, "grid"),
            "tree": partial(by_distance, a, b, "tree"),
            "mask": partial(by_mask, a, b),
        }
        results = [form() for form in forms.values()]
        spent = [f"{t.cpu:.1f}" for t in timing.alternate(forms, options.rounds).values()]
        loop = "-"
        if batch * cells**4 < 100_000:
            run = partial(by_loop, a, b)
            results.append(run())
            loop = f"{timing.alternate({'': run}, 1, warm=False)[''].cpu:.1f}"
        size, count = f"{batch} x {cells} x {cells}", str(len(results[0][0]))
        rows.append([size, count, *spent, loop, same(*results)])
    head = ["maps", "pairs", "ours (grid)", "ours (any points)", "mask", "loop", "equal"]
    timing.table(f"Pairs by distance, radius {RADIUS} cell diagonals, CPU ms", head, rows)

    shapes = ((64, 7, 2048), (16, 14, 512), (8, 28, 256), (2, 56, 128))
    rows = []
    for batch, cells, channels in ((2, 3, 4),) if options.quick else shapes:
        a, b = crops(batch, cells, channels, 0), crops(batch, cells, channels, 1)
        pair = {"ours": partial(by_similarity, a, b), "full": partial(by_argmax, a, b)}
        spent = [f"{t.cpu:.1f}" for t in timing.alternate(pair, options.rounds).values()]
        size, scores = f"{batch} x {cells} x {cells} x {channels}", batch * cells**4 * 4 / 2**20
        equal = same(*(form() for form in pair.values()))
        rows.append([size, *spent, f"{scores:.0f} MiB", equal])
    head = ["maps", "ours (blocks, exact ties)", "all scores + argmax", "all scores", "equal"]
    timing.table("Pairs by similarity, CPU ms", head, rows)


if __name__ == "__main__":
    main()
