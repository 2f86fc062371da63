"""Features of a few pictures in colour, the rows of a table side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

from densecl.transfer.measures.views import Pictures, evenly
from densecl.viz.features import PrincipalColours
from densecl.viz.tile import caption, enlarge, grid

if TYPE_CHECKING:
    from densecl.transfer.features import FrozenInput
    from densecl.transfer.untrained import Restored

PICTURES, HEIGHT = 5, 120
NOTE = "first three principal components of each row's own features: colours differ between rows"


def component_figure(
    reading: FrozenInput,
    trained: Mapping[str, Restored],
    items: Pictures,
    size: int | tuple[int, int],
) -> np.ndarray:
    """One picture a line, and beside it each row's features.

    One set of axes serves all pictures of a row, so within a column a colour means one thing. Rows
    have no common feature space: between columns it means nothing, and the figure says so.

    Args:
        reading: how a backbone is read.
        trained: row name -> its backbone.
        items: pictures; a few, evenly spread, are shown whole.
        size: of the views; pictures are enlarged to cover it, so that cells are as large as those
            that were measured.

    Returns:
        (H, W, 3) uint8.
    """
    least = (size, size) if isinstance(size, int) else size
    images = [
        _covering(items[position].frames[0].image, least)
        for position in evenly(len(items), PICTURES)
    ]
    columns = [[enlarge(image, HEIGHT) for image in images]]
    for each in trained.values():
        maps = [reading.maps(each.backbone, image)[0].cpu() for image in images]
        rows = [one.flatten(1).T for one in maps]
        colours = PrincipalColours.fit(torch.cat(rows))
        columns.append(
            [
                _shown(colours.apply(row).reshape(*one.shape[1:], 3), image)
                for row, one, image in zip(rows, maps, images, strict=True)
            ]
        )
    return caption(grid(list(zip(*columns, strict=True)), ["picture", *trained]), NOTE)


def _covering(image: np.ndarray, least: tuple[int, int]) -> np.ndarray:
    zoom = max(1.0, *(want / have for want, have in zip(least, image.shape[:2], strict=True)))
    size = (round(image.shape[1] * zoom), round(image.shape[0] * zoom))
    return image if zoom == 1 else cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)


def _shown(cells: np.ndarray, image: np.ndarray) -> np.ndarray:
    """A map (h, w, 3) over the extent of its picture, at the height of the figure's lines."""
    size = (max(1, round(image.shape[1] * HEIGHT / image.shape[0])), HEIGHT)
    return cv2.resize(cells, size, interpolation=cv2.INTER_NEAREST_EXACT)
