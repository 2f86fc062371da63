"""What the rows of a table predict, side by side: a picture a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from densecl.diagnostics.segmentation_metrics import IGNORE
from densecl.transfer.images import LabelledImages
from densecl.transfer.pictures import colourise
from densecl.viz.segments import region_colours
from densecl.viz.tile import enlarge, grid

SHOWN, HEIGHT = 4, 150
UNMATCHED = (255, 0, 255)


def shown(images: LabelledImages, most: int = SHOWN) -> LabelledImages:
    """A few pictures, evenly spread over a selection."""
    places = np.unique(np.linspace(0, len(images) - 1, most).round().astype(int)).tolist()
    indices = [images.indices[place] for place in places]
    return LabelledImages(images.dataset, indices, resize=images.resize)


def palette_of(dataset: Any, num_classes: int) -> list[tuple[int, ...]]:
    """Colours of the classes, the data set's own where it has enough."""
    own: Sequence[Sequence[int]] | None = getattr(dataset, "palette", None)
    if own is not None and len(own) >= num_classes:
        return [tuple(colour) for colour in own]
    return [tuple(colour) for colour in region_colours(np.arange(num_classes)[None])[0].tolist()]


def prediction_sheet(
    images: LabelledImages,
    predicted: Mapping[str, Sequence[np.ndarray]],
    num_classes: int,
    ignore: int = IGNORE,
) -> np.ndarray:
    """Picture, truth and the prediction of each row.

    Args:
        images: what is shown.
        predicted: row name -> of each picture (H, W) class ids; L where nothing is predicted.
        num_classes: L.
        ignore: id in the truth without a class.

    Returns:
        (H', W', 3) uint8.
    """
    palette = [*palette_of(images.dataset, num_classes)[:num_classes], UNMATCHED]
    lines = []
    for position in range(len(images)):
        image, truth = images[position]
        maps = [truth, *(rows[position] for rows in predicted.values())]
        painted = [colourise(ids, palette, ignore) for ids in maps]
        lines.append([enlarge(image, HEIGHT), *(enlarge(p, HEIGHT, smooth=False) for p in painted)])
    # a resized picture may have another aspect than its labels; the columns keep one width
    widths = [max(line[column].shape[1] for line in lines) for column in range(len(lines[0]))]
    lines = [
        [
            np.pad(tile, ((0, 0), (0, width - tile.shape[1]), (0, 0)), constant_values=255)
            for tile, width in zip(line, widths, strict=True)
        ]
        for line in lines
    ]
    return grid(lines, ["picture", "truth", *predicted])
