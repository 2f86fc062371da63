"""Time of k-means: ours against scikit-learn and plain torch, from the same centres, proven equal.

    OMP_NUM_THREADS=1 python tools/benchmarks/clustering.py

Prints two Markdown tables of medians: whole runs of a fixed number of steps, and the search for the
nearest centre alone. scikit-learn takes part where it is installed.
"""

from __future__ import annotations

import argparse
from functools import partial

import numpy as np
import timing
import torch
from torch import Tensor

from densecl.transfer.clustering.lloyd import assign, kmeans, seeding

STEPS = 10


def rows_of(count: int, dim: int) -> Tensor:
    """Features with some structure: many directions of falling variance, a few hundred groups."""
    g = torch.Generator().manual_seed(0)
    scale = torch.linspace(2, 0.5, dim)
    centres = torch.randn(400, dim, generator=g) * scale
    return centres[torch.randint(400, (count,), generator=g)] + torch.randn(count, dim, generator=g)


def ours(rows: Tensor, start: Tensor) -> float:
    """Inertia."""
    return kmeans(rows, len(start), start=start, iterations=STEPS, tolerance=0).inertia


def by_sklearn(rows: Tensor, start: Tensor) -> float:
    """scikit-learn's Lloyd."""
    from sklearn.cluster import KMeans

    model = KMeans(
        len(start), init=start.numpy(), n_init=1, max_iter=STEPS, tol=0, algorithm="lloyd"
    )
    return float(model.fit(rows.numpy()).inertia_)


def plain(rows: Tensor, start: Tensor) -> float:
    """Textbook torch: all distances, argmin, means by index_add."""
    centres = start.clone()
    for _ in range(STEPS):
        labels = nearest_by_cdist(rows, centres)
        count = torch.bincount(labels, minlength=len(centres)).clamp(min=1)
        centres = torch.zeros_like(centres).index_add_(0, labels, rows) / count[:, None]
    labels = nearest_by_cdist(rows, centres)
    return float((rows - centres[labels]).double().square().sum())


def nearest_by_cdist(rows: Tensor, centres: Tensor) -> Tensor:
    """All distances at once."""
    return torch.cdist(rows, centres).argmin(1)


def nearest_by_torch(rows: Tensor, centres: Tensor) -> Tensor:
    """As ours, but with torch's argmin."""
    square = centres.square().sum(1)
    size = max(1, (1 << 20) // len(centres))
    parts = [torch.addmm(square, part, centres.T, alpha=-2).argmin(1) for part in rows.split(size)]
    return torch.cat(parts)


def have_sklearn() -> bool:
    """Whether scikit-learn is installed."""
    try:
        import sklearn  # noqa: F401
    except ImportError:
        return False
    return True


def main(arguments: list[str] | None = None) -> None:
    """Print both tables."""
    options: argparse.Namespace = timing.parser(__doc__).parse_args(arguments)
    timing.prepare(options)
    sizes = [(30_000, 50, 11), (30_000, 50, 300), (100_000, 50, 500), (30_000, 384, 300)]
    if options.quick:
        sizes = [(400, 5, 7)]
    whole, parts = [], []
    for count, dim, k in sizes:
        rows = rows_of(count, dim)
        # far from one another, so that no cluster goes empty: repairs differ from one to the next
        start = rows[seeding(rows, k, np.random.default_rng(0))]
        runs = {"ours": ours, "torch": plain}
        if have_sklearn():
            runs["scikit-learn"] = by_sklearn
        forms = {name: partial(run, rows, start) for name, run in runs.items()}
        spent = timing.alternate(forms, options.rounds)
        truth = torch.tensor([ours(rows, start)])
        for name, form in forms.items():
            # a row between two centres may fall to either side in float32
            apart = timing.equal(name, torch.tensor([form()]), truth, limit=1e-4)
            whole.append([f"{count} x {dim}", k, name, spent[name].cpu, spent[name].wall, apart])
        searches = {"ours": assign, "argmin of torch": nearest_by_torch, "cdist": nearest_by_cdist}
        spent = timing.alternate(
            {name: partial(search, rows, start) for name, search in searches.items()},
            options.rounds,
        )
        found = assign(rows, start)
        for name, search in searches.items():
            other = float((search(rows, start) != found).float().mean())
            assert other < 1e-4, (name, other)
            parts.append(
                [f"{count} x {dim}", k, name, spent[name].cpu, spent[name].wall, f"{other:.0e}"]
            )
    head = ["rows", "K", "form", "CPU ms", "wall ms", "inertia, difference"]
    timing.table(f"k-means, {STEPS} steps from the same centres", head, whole)
    head = ["rows", "K", "form", "CPU ms", "wall ms", "other centres"]
    timing.table("The nearest of K centres", head, parts)


if __name__ == "__main__":
    main()
