"""PixPro's pairs, regression and propagation at growing maps, beside the form with masks.

    OMP_NUM_THREADS=1 python tools/benchmarks/pixpro.py

Pairs and regression, both directions, forward and backward: ours lists the pairs, O(h w k); the
published form holds the (B, h w, h w) distances and cosines. Propagation compares all cells of an
image by definition; ours holds blocks of the similarities, the plain form all of them. Peak memory
is what a fresh process needs beyond its inputs. Loss and gradients are compared before timing.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import timing
import torch
import torch.nn.functional as F
from torch import Tensor

from densecl.losses import cosine_regression
from densecl.pairs import PointSet, match_by_distance, propagate
from densecl.views.geometry import Affine

RADIUS = 0.7
SIZES = {7: 64, 28: 16, 56: 4}
"""Cells a side: images in the batch."""


def view(batch: int, cells: int, dim: int, seed: int) -> tuple[Affine, Tensor]:
    """Random flipped crops of 60 to 134 pixels a side of a 224-pixel image, and their map."""
    g = torch.Generator().manual_seed(seed)
    corner = torch.rand(batch, 2, generator=g) * 90
    boxes = torch.cat([corner, corner + 60 + torch.rand(batch, 2, generator=g) * 74], 1).tolist()
    flips = (torch.rand(batch, generator=g) < 0.5).tolist()
    geometry = [Affine.from_crop(b, (224, 224), f) for b, f in zip(boxes, flips, strict=True)]
    # images of few features in common, so that cosines are neither all 0 nor all alike
    draw = torch.randn(batch, dim, cells, cells, generator=g)
    return Affine.stack(geometry), draw + torch.randn(batch, dim, 1, 1, generator=g)


def inputs(cells: int, batch: int, dim: int) -> list[tuple[Affine, Tensor]]:
    """Online maps of two views, then the teacher's."""
    online = [view(batch, cells, dim, seed) for seed in (0, 1)]
    return [*online, *((geometry, maps.flip(0)) for geometry, maps in online)]


def listed(views: list[tuple[Affine, Tensor]], leaves: list[Tensor]) -> Tensor:
    """Ours: pairs once, used in both directions."""
    geometry = [view[0] for view in views[:2]]
    fields = [*leaves, *(view[1] for view in views[2:])]
    points = [
        PointSet.from_map({"f": field}, geometry=geometry[i % 2], size=(224, 224))
        for i, field in enumerate(fields)
    ]
    pairs = match_by_distance(points[0], points[1], radius=RADIUS)
    total = torch.zeros(())
    for ask, answer, match in ((0, 3, pairs), (1, 2, pairs.swap())):
        total = total + cosine_regression(  # type: ignore[operator]
            points[ask].fields["f"],
            points[answer].fields["f"],
            match,
            normaliser="samples",
            groups=points[ask].sample,
            num_groups=points[ask].num_samples,
        )
    return total


def masked(views: list[tuple[Affine, Tensor]], leaves: list[Tensor]) -> Tensor:
    """The published form: distances, mask and cosines of all cells with all cells."""
    cells = leaves[0].shape[-1]
    at = (torch.arange(cells) + 0.5) * 224 / cells
    y, x = torch.meshgrid(at, at, indexing="ij")
    grid = torch.stack([x, y], -1).reshape(1, -1, 2).expand(len(leaves[0]), -1, 2)
    places = [view[0].to_canonical(grid) for view in views[:2]]
    diagonal = [view[0].linear.flatten(1).norm(dim=1) * 224 / cells for view in views[:2]]
    gap = (places[0][:, :, None] - places[1][:, None]).square().sum(-1).sqrt()
    mask = (gap / torch.maximum(*diagonal)[:, None, None] < RADIUS).float()
    total = torch.zeros(())
    for ask, answer, near in ((0, 3, mask), (1, 2, mask.transpose(1, 2))):
        q, k = (F.normalize(t.flatten(2), dim=1) for t in (leaves[ask], views[answer][1]))
        cosine = torch.bmm(q.transpose(1, 2), k)
        total = total - ((cosine * near).sum((1, 2)) / (near.sum((1, 2)) + 1e-6)).mean()
    return total


def blocks(views: list[tuple[Affine, Tensor]], leaves: list[Tensor]) -> Tensor:
    """Ours."""
    return (propagate(leaves[0], leaves[1]) * views[2][1]).sum()


def all_similarities(views: list[tuple[Affine, Tensor]], leaves: list[Tensor]) -> Tensor:
    """The published form."""
    x, v = (t.flatten(2) for t in leaves)
    x = F.normalize(x, dim=1)
    similarity = torch.bmm(x.transpose(1, 2), x).clamp(min=0) ** 2
    return (torch.bmm(v, similarity.transpose(1, 2)) * views[2][1].flatten(2)).sum()


Form = Callable[[list[tuple[Affine, Tensor]], list[Tensor]], Tensor]
PAIRS: dict[str, Form] = {"listed pairs (ours)": listed, "(h w)² mask": masked}
PROPAGATION: dict[str, Form] = {
    "blocks (ours)": blocks,
    "all similarities": all_similarities,
}


def step(form: Form, views: list[tuple[Affine, Tensor]]) -> list[Tensor]:
    """Loss and the gradients of both online maps."""
    leaves = [maps.clone().requires_grad_() for _, maps in views[:2]]
    loss = form(views, leaves)
    return [loss.detach(), *torch.autograd.grad(loss, leaves)]


def compare(
    forms: dict[str, Form], cells: int, batch: int, options: argparse.Namespace
) -> list[list]:
    """One row per form at one size."""
    views = inputs(cells, batch, options.dim)
    ours, other = (step(form, views) for form in forms.values())
    # the published mean divides by the number of pairs + 1e-6
    apart = timing.equal(f"{cells} cells", ours, other, limit=2e-5)
    run = {name: lambda form=form: step(form, views) for name, form in forms.items()}
    rows = []
    for name, spent in timing.alternate(run, options.rounds).items():
        peak = timing.peak_mib(__file__, name, cells, batch, options.dim)
        rows.append(
            [f"{batch} x {cells} x {cells}", name, spent.cpu, spent.wall, round(peak), apart]
        )
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Print both tables."""
    parser = timing.parser(__doc__)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--peak", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.peak:
        torch.set_num_threads(1)
        form = (PAIRS | PROPAGATION)[options.peak[0]]
        cells, batch, dim = map(int, options.peak[1:])
        small, views = inputs(3, 2, dim), inputs(cells, batch, dim)
        timing.print_peak(lambda: step(form, small), lambda: step(form, views))
        return
    timing.prepare(options)
    sizes = {3: 2, 5: 1} if options.quick else SIZES
    head = ["maps", "form", "CPU ms", "wall ms", "peak MiB", "difference"]
    for title, forms in (("Pairs and regression, both directions", PAIRS), ("", PROPAGATION)):
        rows = [row for size in sizes.items() for row in compare(forms, *size, options)]
        title = f"{title or 'Propagation'}, forward and backward, D = {options.dim}"
        timing.table(title, head, rows)


if __name__ == "__main__":
    main()
