"""Which cells of a picture are found again in another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from densecl.transfer.correspondence import cell_places, match_by_cosine
from densecl.viz.masks import draw_masks
from densecl.viz.tile import caption, enlarge, grid

if TYPE_CHECKING:
    from densecl.transfer.correspondence_task import (
        CorrespondenceSpec,
        Scenery,
        SceneryPairs,
    )
    from densecl.transfer.untrained import Restored

PAIRS, HEIGHT = 3, 160
NEAR, CLOSE, FAR, LEFT_OUT = range(4)
"""Match within 1 cell, within 2, farther away; cells that do not count."""
_COLOURS = {NEAR: (40, 120, 220), CLOSE: (250, 190, 40), FAR: (200, 50, 40)}


def match_figures(
    spec: CorrespondenceSpec, trained: Mapping[str, Restored], items: SceneryPairs
) -> dict[str, np.ndarray]:
    """One figure a pair: both pictures, then the first one again for each row of the table.

    Cells whose match lies within 1 cell of the truth are blue, within 2 yellow, others red; what
    has no truth is left as it is.

    Args:
        spec: the run.
        trained: row name -> its backbone.
        items: pairs of pictures; up to ``PAIRS`` are shown, evenly spread.

    Returns:
        File stem -> (H, W, 3) uint8.
    """
    figures = {}
    for position in np.unique(np.linspace(0, len(items) - 1, PAIRS).round().astype(int)).tolist():
        pair = items[position]
        pictures = [enlarge(image, HEIGHT) for image in pair.images]
        captions = ["picture", "where it is looked for"]
        for row, matcher in trained.items():
            first, second = (spec.input.maps(matcher.backbone, each)[0] for each in pair.images)
            verdict = verdicts(pair, first, second, spec.min_motion)
            drawn = draw_masks(pair.images[0], verdict, _COLOURS, strength=0.5)
            pictures.append(enlarge(drawn, HEIGHT))
            counted = verdict[verdict != LEFT_OUT]
            share = (counted == NEAR).mean() if counted.size else float("nan")
            captions.append(f"{row}: {share:.2f}")
        titled = [caption(p, c) for p, c in zip(pictures, captions, strict=True)]
        figures[items.name(position).strip("/").replace("/", "_")] = grid([titled])
    return figures


def verdicts(pair: Scenery, first: Tensor, second: Tensor, min_motion: float = 0.0) -> np.ndarray:
    """What became of each cell of the first picture: (h, w) of ``NEAR``, ``CLOSE``, ... .

    Args:
        pair: says where the cells lie in the second picture.
        first, second: (D, h, w) features of the two.
        min_motion: see ``Tally``.
    """
    size, other = ((each.shape[1], each.shape[2]) for each in (first, second))
    target, visible = pair.targets(size, other)
    places = cell_places(second)
    missed = (places[match_by_cosine(first, second).cpu()] - target).norm(dim=1)
    counted = visible & ((cell_places(first) - target).norm(dim=1) >= min_motion)
    found = np.where(missed <= 1, NEAR, np.where(missed <= 2, CLOSE, FAR))
    return np.where(counted.numpy(), found, LEFT_OUT).reshape(size)
