"""Correspondence recall: do the features of one physical point agree between two frames?

Needs no label and no training, only flow. It is what dense contrast trains for, so features that
learned anything must beat random ones here before any claim about transfer is worth testing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from densecl.data.sample import Sample
from densecl.models.frozen import frozen


@dataclass
class Recall:
    """Share of cells whose best match lies within r cells of the true position.

    Attributes:
        recall: r -> share, of the features.
        chance: r -> share that a uniformly random cell of the next frame would reach.
        still: r -> share reached by assuming that nothing moves. Features that only know
            *where* they are score this; read ``recall`` against it, or ask for ``min_motion``.
        queries: cells that were counted.
    """

    recall: dict[float, float] = field(default_factory=dict)
    chance: dict[float, float] = field(default_factory=dict)
    still: dict[float, float] = field(default_factory=dict)
    queries: int = 0


def cell_targets(flow: np.ndarray, size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Where each cell of a map goes, in the next frame's cell coordinates.

    Args:
        flow: (H, W, 2) displacement (x, y) in pixels, NaN = no correspondence.
        size: (h, w) of the feature map.

    Returns:
        target (h w, 2) as (x, y) with cell (i, j) centred at (j, i); visible (h w,) bool: flow
        is known at the pixel under the cell's centre and leads into the frame.
    """
    (height, width), (h, w) = flow.shape[:2], size
    y, x = (np.arange(h) + 0.5) * height / h, (np.arange(w) + 0.5) * width / w
    moved = flow[y.astype(int)[:, None], x.astype(int)[None, :]].astype(np.float64)
    moved = moved + np.stack(np.meshgrid(x, y), axis=-1)
    with np.errstate(invalid="ignore"):
        inside = (moved >= 0).all(-1) & (moved[..., 0] < width) & (moved[..., 1] < height)
    target = moved * [w / width, h / height] - 0.5
    return torch.from_numpy(target.reshape(-1, 2)), torch.from_numpy(inside.reshape(-1))


def match_by_cosine(source: Tensor, target: Tensor) -> Tensor:
    """Index of the most similar cell: (D, h, w) twice -> (h w,) int64 into target's cells."""
    rows = functional.normalize(source.flatten(1).T.float(), dim=1)
    return (rows @ functional.normalize(target.flatten(1).float(), dim=0)).argmax(dim=1)


def correspondence_recall(
    backbone: nn.Module,
    clips: Iterable[Sample],
    *,
    stride: int,
    radii: Sequence[float] = (1.0, 2.0),
    min_motion: float = 0.0,
    shift: tuple[int, int] = (0, 0),
    mean: Sequence[float] = (123.675, 116.28, 103.53),
    std: Sequence[float] = (58.395, 57.12, 57.375),
) -> Recall:
    """Recall of nearest-neighbour matching from frame 0 to frame 1 of each clip.

    Args:
        backbone: returns ``Features``; used in evaluation mode, its mode is restored.
        clips: samples of two frames or more, the first with flow.
        stride: which map is matched.
        radii: distances in cells (Euclidean, from the match's centre to the exact target).
        min_motion: count only cells that move at least this many cells.
        shift: (x, y) pixels >= 0 cut off the left and top of the second frame, and off the right
            and bottom of the first: the content moves by that much more, so that knowing
            *where* one is no longer tells where the match is.
        mean: input normalisation on the 0-255 scale.
        std: the same.

    Raises:
        ValueError: a clip without a second frame or without flow, or no visible cell at all.
    """
    hits = {name: dict.fromkeys(radii, 0.0) for name in ("recall", "chance", "still")}
    queries = 0
    with frozen(backbone):
        for clip in clips:
            if len(clip.frames) < 2 or clip.frames[0].flow is None:
                raise ValueError(f"{clip.name}: two frames and the first one's flow are needed")
            images, flow = _shifted(clip, shift)
            maps = [backbone(_normalised(image, mean, std)).maps[stride][0] for image in images]
            h, w = maps[0].shape[-2:]
            target, visible = cell_targets(flow, (h, w))
            grid = torch.stack(
                [torch.arange(w).repeat(h), torch.arange(h).repeat_interleave(w)], dim=1
            ).double()
            still = (grid - target).norm(dim=1)
            counted = visible & (still >= min_motion)
            match = match_by_cosine(maps[0], maps[1])
            missed = (grid[match] - target).norm(dim=1)[counted]
            distance = torch.cdist(target[counted], grid)
            for radius in radii:
                hits["recall"][radius] += (missed <= radius).sum().item()
                hits["still"][radius] += (still[counted] <= radius).sum().item()
                hits["chance"][radius] += (distance <= radius).double().mean(1).sum().item()
            queries += int(counted.sum())
    if not queries:
        raise ValueError("no clip has a visible cell to match")
    shares = {name: {r: n / queries for r, n in counts.items()} for name, counts in hits.items()}
    return Recall(shares["recall"], shares["chance"], shares["still"], queries)


def _shifted(
    clip: Sample, shift: tuple[int, int]
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Two crops of equal size, the second one ``shift`` further right and down, and their flow."""
    (x, y), (first, second) = shift, clip.frames[:2]
    height, width = first.image.shape[:2]
    assert first.flow is not None
    flow = first.flow[: height - y, : width - x] - np.array([x, y], np.float32)
    return (first.image[: height - y, : width - x], second.image[y:, x:]), flow


def _normalised(image: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    array = (image.astype(np.float32) - np.array(mean, np.float32)) / np.array(std, np.float32)
    return torch.from_numpy(array).permute(2, 0, 1)[None]
