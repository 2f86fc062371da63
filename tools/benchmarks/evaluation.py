"""How fast frozen features are judged: propagation, prompts, correspondence.

The first table times whole runs on one core, from decoded pictures to scores. The second one holds
the heart of propagation against two other forms of the same sums: every cell against every other
with the far ones masked, and the neighbours of each cell gathered.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import timing
import torch
from torch import Tensor
from torch.nn import functional

from densecl.data import Streets
from densecl.transfer.correspondence_task import CorrespondenceSpec
from densecl.transfer.features import FrozenInput
from densecl.transfer.prompts.task import PromptSpec
from densecl.transfer.propagation.affinity import (
    Neighbourhood,
    carry_labels,
    first_largest,
)
from densecl.transfer.propagation.task import PropagationSpec

TOP_K, TEMPERATURE = 10, 0.07


def video(frames: int, h: int, w: int, channels: int) -> tuple[Tensor, Tensor, Tensor]:
    """Unit features of a frame and of those before it, and their soft labels."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(frames + 1, h, w, channels, generator=generator)
    features = functional.normalize(features, dim=-1)
    labels = torch.softmax(torch.randn(frames, h, w, 3, generator=generator), dim=-1)
    return features[0], features[1:], labels


def ours(query: Tensor, keys: Tensor, labels: Tensor, radius: float) -> Tensor:
    """Tiles of cells, each against its own window."""
    return carry_labels(
        query,
        keys,
        labels,
        top_k=TOP_K,
        temperature=TEMPERATURE,
        neighbourhood=Neighbourhood("circle", radius),
    )


def _weighed(scores: Tensor, labels: Tensor) -> Tensor:
    best, index = first_largest(scores, TOP_K)
    weight = torch.softmax(best / TEMPERATURE, dim=1).unsqueeze(2)
    return (labels.gather(1, index.unsqueeze(2).expand(-1, -1, labels.shape[2])) * weight).sum(1)


def masked(query: Tensor, keys: Tensor, labels: Tensor, radius: float, rows: int = 256) -> Tensor:
    """Blocks of cells against all cells of all frames; those outside the circle are masked."""
    h, w, _ = query.shape
    y, x = torch.arange(h).repeat_interleave(w), torch.arange(w).repeat(h)
    flat, all_labels, parts = keys.flatten(0, 2), labels.flatten(0, 2)[None], []
    for start in range(0, h * w, rows):
        some = slice(start, start + rows)
        scores = query.flatten(0, 1)[some] @ flat.T
        far = (y[some, None] - y) ** 2 + (x[some, None] - x) ** 2 >= radius**2
        scores.view(-1, len(keys), h * w).masked_fill_(far[:, None], -torch.inf)
        parts.append(_weighed(scores, all_labels.expand(len(scores), -1, -1)))
    return torch.cat(parts).view(h, w, -1)


def gathered(query: Tensor, keys: Tensor, labels: Tensor, radius: float, rows: int = 32) -> Tensor:
    """Each cell against copies of the cells in its own circle."""
    h, w, _ = query.shape
    reach = int(radius)
    near = torch.arange(-reach, reach + 1)
    dy, dx = (part.flatten() for part in torch.meshgrid(near, near, indexing="ij"))
    circle = dy * dy + dx * dx < radius**2
    dy, dx = dy[circle], dx[circle]
    y = torch.arange(h).repeat_interleave(w)[:, None] + dy
    x = torch.arange(w).repeat(h)[:, None] + dx
    inside = (y >= 0) & (y < h) & (x >= 0) & (x < w)
    index = y.clamp(0, h - 1) * w + x.clamp(0, w - 1)
    flat, all_labels, parts = keys.flatten(1, 2), labels.flatten(1, 2), []
    for start in range(0, h * w, rows):
        some = slice(start, start + rows)
        own = query.flatten(0, 1)[some]
        scores = torch.einsum("nd,fnkd->nfk", own, flat[:, index[some]])
        scores = scores.masked_fill(~inside[some, None], -torch.inf).flatten(1)
        parts.append(_weighed(scores, all_labels[:, index[some]].transpose(0, 1).flatten(1, 2)))
    return torch.cat(parts).view(h, w, -1)


def whole_runs(quick: bool, rounds: int) -> list[list[object]]:
    """A line for each run: what an item costs from decoded pictures to scores."""
    width, count = (4, 3) if quick else (64, 12)
    size = (120, 160) if quick else (240, 320)
    backbone = {"type": "ResNet", "depth": 18, "width": width}
    fine: Mapping[str, Any] = {"stage_strides": (1, 2, 1, 2)}
    whole = FrozenInput(backbone, strides=(8,), resize=size)
    views = FrozenInput(backbone, strides=(8,))
    runs = {
        "propagation": (PropagationSpec(whole, min_pixels=60), 8),
        "prompts": (PromptSpec(whole, min_cells=1.0 if quick else 4.0, **fine), 1),
        "correspondence, next frame": (CorrespondenceSpec(whole, **fine), 2),
        "correspondence, other view": (
            CorrespondenceSpec(views, other="view", view_size=(size[0], size[0]), **fine),
            2,
        ),
    }
    rows: list[list[object]] = []
    for name, (run, frames) in runs.items():
        clips = Streets("val", length=count, clip_length=frames, cache=False)
        items: Any = run.select(clips)
        for position in range(count):
            items[position]  # rendered here, kept by the selection
        trained: Any = run.restore({}, None, seed=0, device="cpu")
        each = timing.alternate({"": partial(run.score, trained, items, "cpu")}, rounds)[""]
        seconds = each.cpu / 1e3 / (count * frames)
        shown = "view" if name.endswith("view") else "frame" if frames > 1 else "image"
        rows.append([name, f"{count} x {frames}", shown, 1e3 * seconds, 1 / seconds])
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Print both tables."""
    options = timing.parser(__doc__).parse_args(arguments)
    timing.prepare(options)
    rows = whole_runs(options.quick, options.rounds)
    head = ["run", "pictures", "of", "CPU ms each", "a second and core"]
    timing.table("Frozen features judged, ResNet-18, on one core", head, rows)

    real = ((7, 20, 36, 128, 8.0), (21, 30, 54, 256, 12.0), (21, 60, 107, 256, 12.0))
    lines: list[list[object]] = []
    for shape in ((2, 5, 6, 4, 2.0),) if options.quick else real:
        frames, h, w, channels, radius = shape
        inputs = video(frames, h, w, channels)
        forms = {f.__name__: partial(f, *inputs, radius) for f in (ours, masked, gathered)}
        if h * w > 1000:
            del forms["gathered"]  # half a minute and more
        spent = timing.alternate(forms, min(options.rounds, 2), warm=False)
        first = forms["ours"]()
        same = [timing.equal(name, form(), first) for name, form in forms.items() if name != "ours"]
        times = [
            f"{spent[f].cpu:.0f}" if f in spent else "-" for f in ("ours", "masked", "gathered")
        ]
        lines.append([f"{frames} x {h} x {w} x {channels}", radius, *times, max(same)])
    head = ["frames", "radius", "ours (tiles)", "all cells, masked", "gathered", "apart"]
    timing.table("One frame labelled by those before it, CPU ms", head, lines)


if __name__ == "__main__":
    main()
