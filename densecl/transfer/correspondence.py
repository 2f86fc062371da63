"""Correspondence recall: do the features of one physical point agree between two pictures of it?

Needs no label and no training, only flow, or two views of known geometry. It is what dense contrast
trains for, so features that learned anything must beat random ones here before any claim about
transfer is worth testing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from densecl.data.sample import Sample
from densecl.models.frozen import frozen
from densecl.views.view import View


@dataclass
class Recall:
    """Share of cells whose best match lies within r cells of the true position.

    Attributes:
        recall: r -> share, of the features.
        chance: r -> share that a uniformly random cell of the other picture would reach.
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


def view_targets(
    first: View, second: View, size: Sequence[int], other: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Where each cell of a view's map lies in another view of the same frame.

    Args:
        first, second: views, unbatched.
        size, other: (h, w) of their feature maps.

    Returns:
        target (h w, 2) as (x, y) in cells of the second map, cell (i, j) centred at (j, i); visible
        (h w,) bool: the cell's centre and its place in the other view show the frame, not padding.

    Raises:
        ValueError: views of two frames; these are related by flow, not by geometry.
    """
    if (first.source, first.frame) != (second.source, second.frame):
        raise ValueError("views of two frames have no geometry in common")
    (h, w), (height, width) = size, first.image.shape[-2:]
    x = (torch.arange(w, dtype=torch.float64) + 0.5) * width / w
    y = (torch.arange(h, dtype=torch.float64) + 0.5) * height / h
    points = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).reshape(-1, 2)
    place = second.geometry.from_canonical(first.geometry.to_canonical(points))
    visible = _shown(first, points) & _shown(second, place)
    scale = torch.tensor([other[1], other[0]]) / torch.tensor(second.image.shape[-2:]).flip(0)
    return place * scale.double() - 0.5, visible


def _shown(view: View, points: Tensor) -> Tensor:
    """(N,) bool: the points (x, y) lie in the view, and it shows the frame there."""
    height, width = view.image.shape[-2:]
    inside = (points >= 0).all(1) & (points[:, 0] < width) & (points[:, 1] < height)
    if view.valid is None:
        return inside
    column, row = points.long().clamp(min=0).unbind(1)
    return inside & view.valid[row.clamp(max=height - 1), column.clamp(max=width - 1)]


def match_by_cosine(source: Tensor, target: Tensor) -> Tensor:
    """Index of the most similar cell: (D, h, w) twice -> (h w,) int64 into target's cells."""
    rows = functional.normalize(source.flatten(1).T.float(), dim=1)
    return (rows @ functional.normalize(target.flatten(1).float(), dim=0)).argmax(dim=1)


class Tally:
    """Counts matches of many pictures.

    Args:
        radii: distances in cells (Euclidean, from the match's centre to the exact target).
        min_motion: count only cells whose target is at least this many cells from their own place.
    """

    def __init__(self, radii: Sequence[float], min_motion: float = 0.0) -> None:
        self.radii, self.min_motion = tuple(radii), min_motion
        self.queries = 0
        self._hits = {name: dict.fromkeys(self.radii, 0.0) for name in _SHARES}

    def add(self, source: Tensor, other: Tensor, target: Tensor, visible: Tensor) -> Recall:
        """Match one picture's cells in another and return what this pair alone gives.

        Args:
            source: (D, h, w).
            other: (D, h', w').
            target: (h w, 2) float64, exact places in cells of ``other``; see ``cell_targets``.
            visible: (h w,) bool, cells that have one.
        """
        own, theirs = cell_places(source), cell_places(other)
        still = (own - target).norm(dim=1)
        counted = visible & (still >= self.min_motion)
        match = match_by_cosine(source, other).cpu()
        missed = (theirs[match] - target).norm(dim=1)[counted]
        distance = torch.cdist(target[counted], theirs)
        found = {name: dict.fromkeys(self.radii, 0.0) for name in _SHARES}
        for radius in self.radii:
            found["recall"][radius] = (missed <= radius).sum().item()
            found["still"][radius] = (still[counted] <= radius).sum().item()
            found["chance"][radius] = (distance <= radius).double().mean(1).sum().item()
            for name in _SHARES:
                self._hits[name][radius] += found[name][radius]
        queries = int(counted.sum())
        self.queries += queries
        return _recall(found, queries)

    def recall(self) -> Recall:
        """Shares over all cells that were added.

        Raises:
            ValueError: there were none.
        """
        if not self.queries:
            raise ValueError("no clip has a visible cell to match")
        return _recall(self._hits, self.queries)


_SHARES = ("recall", "chance", "still")


def _recall(hits: Mapping[str, Mapping[float, float]], queries: int) -> Recall:
    shares = {n: {r: hit / max(queries, 1) for r, hit in c.items()} for n, c in hits.items()}
    return Recall(shares["recall"], shares["chance"], shares["still"], queries)


def cell_places(features: Tensor) -> Tensor:
    """(h w, 2) float64 places (x, y) of the cells of (D, h, w), cell (i, j) at (j, i)."""
    h, w = features.shape[-2:]
    x, y = torch.arange(w).repeat(h), torch.arange(h).repeat_interleave(w)
    return torch.stack([x, y], dim=1).double()


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
        radii, min_motion: see ``Tally``.
        shift: see ``shifted_frames``.
        mean: input normalisation on the 0-255 scale.
        std: the same.

    Raises:
        ValueError: a clip without a second frame or without flow, or no visible cell at all.
    """
    tally = Tally(radii, min_motion)
    with frozen(backbone):
        for clip in clips:
            images, flow = shifted_frames(clip, shift)
            maps = [backbone(_normalised(image, mean, std)).maps[stride][0] for image in images]
            tally.add(maps[0], maps[1], *cell_targets(flow, maps[0].shape[-2:]))
    return tally.recall()


def shifted_frames(
    clip: Sample, shift: tuple[int, int] = (0, 0)
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Two crops of equal size, the second one ``shift`` further right and down, and their flow.

    Args:
        clip: two frames or more, the first with flow.
        shift: (x, y) pixels >= 0 cut off the left and top of the second frame, and off the right
            and bottom of the first: the content moves by that much more, so that knowing
            *where* one is no longer tells where the match is.

    Raises:
        ValueError: no second frame, or no flow.
    """
    if len(clip.frames) < 2 or clip.frames[0].flow is None:
        raise ValueError(f"{clip.name}: two frames and the first one's flow are needed")
    (x, y), (first, second) = shift, clip.frames[:2]
    height, width = first.image.shape[:2]
    assert first.flow is not None
    flow = first.flow[: height - y, : width - x] - np.array([x, y], np.float32)
    return (first.image[: height - y, : width - x], second.image[y:, x:]), flow


def _normalised(image: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    array = (image.astype(np.float32) - np.array(mean, np.float32)) / np.array(std, np.float32)
    return torch.from_numpy(array).permute(2, 0, 1)[None]
