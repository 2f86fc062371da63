"""Draw the pairs of two views: what matches has the colour of its place, the rest is grey."""

from __future__ import annotations

import numpy as np
import torch

from densecl.pairs import Pairs, PointSet
from pointcl.views.batch import VoxelBatch
from pointcl.viz.colours import GREY
from pointcl.viz.scan import draw_scan


def draw_pairs(
    first: VoxelBatch,
    second: VoxelBatch,
    src: PointSet,
    dst: PointSet,
    pairs: Pairs,
    *,
    size: tuple[int, int] = (600, 1200),
) -> np.ndarray:
    """Both views of one sample side by side, as the network sees them, from above.

    Voxels with a partner are coloured by where they lie in the common frame, so that partners
    have nearly the same colour wherever the augmentation put them.

    Args:
        first, second: the two views, of one sample each.
        src, dst: their voxels.
        pairs: between them.
        size: (H, W) of the whole picture.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        ValueError: a batch of several samples, or of none.
    """
    if len(first) != 1 or len(second) != 1:
        raise ValueError(f"draw_pairs shows one sample, got {len(first)} and {len(second)}")
    low, high = _bounds(src, dst)
    half = size[0], size[1] // 2
    parts = []
    for view, points, rows in ((first, src, pairs.src), (second, dst, pairs.dst)):
        assert points.coord is not None
        colours = np.full((len(points), 3), GREY, np.uint8)
        held = rows.unique()
        share = ((points.coord[held] - low) / (high - low)).clamp(0, 1)
        colours[held.numpy()] = (40 + 200 * share).round().numpy().astype(np.uint8)
        centres = view.voxels.grid.centres(view.voxels.tensor.coordinates).numpy()
        title = f"{len(points)} voxels, {len(held)} with a partner"
        parts.append(draw_scan(centres, colours, view="above", size=half, title=title))
    return np.concatenate(parts, 1)


def _bounds(src: PointSet, dst: PointSet) -> tuple[torch.Tensor, torch.Tensor]:
    """(3,) ends of the colours on each axis: nearly all of both sets lies between."""
    assert src.coord is not None
    assert dst.coord is not None
    both = torch.cat([src.coord, dst.coord])
    if not len(both):
        return torch.zeros(3), torch.ones(3)
    low, high = torch.from_numpy(np.percentile(both.numpy(), (2, 98), axis=0)).float()
    return low, torch.maximum(high, low + 1e-3)
