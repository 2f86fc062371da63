"""Frames of videos with the masks that the rows of a table carry through them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from densecl.transfer.propagation.clips import Clip, Clips
from densecl.viz.masks import draw_masks, object_colours
from densecl.viz.tile import caption, enlarge, grid

if TYPE_CHECKING:
    from densecl.transfer.propagation.task import PropagationSpec
    from densecl.transfer.untrained import Restored

VIDEOS, FRAMES, HEIGHT = 3, 4, 160
LENGTH = 24
"""Frames that are propagated for a figure; a long video is shown from its beginning."""


def video_figures(
    spec: PropagationSpec, trained: Mapping[str, Restored], items: Clips
) -> dict[str, np.ndarray]:
    """One figure a video: the truth above, then a line for each row of the table.

    Args:
        spec: the run.
        trained: row name -> its backbone.
        items: videos; up to ``VIDEOS`` of those with objects are shown, evenly spread.

    Returns:
        File stem -> (H, W, 3) uint8.
    """
    figures = {}
    for position in np.unique(np.linspace(0, len(items) - 1, VIDEOS).round().astype(int)).tolist():
        name, clip = items.name(position), items[position]
        clip = Clip(clip.images[:LENGTH], clip.ids[:LENGTH])
        objects = clip.objects(spec.min_pixels, spec.max_objects)
        stem = name.strip("/").replace("/", "_")
        if not objects or stem in figures:
            continue
        colours = object_colours(objects)
        shown = np.linspace(0, len(clip.ids) - 2, FRAMES).round().astype(int).tolist()
        lines = {"truth": clip.ids}
        lines |= {row: spec.masks(each, clip, objects)[0] for row, each in trained.items()}
        rows = []
        for row, ids in lines.items():
            pictures = [enlarge(draw_masks(clip.images[t], ids[t], colours), HEIGHT) for t in shown]
            captions = [row, *(f"frame {t}" for t in shown[1:])]
            rows.append([caption(p, c) for p, c in zip(pictures, captions, strict=True)])
        figures[stem] = grid(rows)
    return figures
