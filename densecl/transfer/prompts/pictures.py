"""One point of an object, and what is like it under each row's features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import cv2
import numpy as np

from densecl.transfer.prompts.points import cell_of, centre_point
from densecl.transfer.prompts.scenes import Scene, Scenes
from densecl.transfer.prompts.segment import large_objects, similarity_maps
from densecl.viz.masks import draw_masks
from densecl.viz.tile import caption, enlarge, grid

if TYPE_CHECKING:
    from densecl.transfer.prompts.task import Prompter, PromptSpec

IMAGES, OBJECTS, HEIGHT = 3, 3, 150
_TRUTH, _FOUND = (40, 170, 110), (230, 60, 50)


def prompt_figures(
    spec: PromptSpec, trained: Mapping[str, Prompter], items: Scenes
) -> dict[str, np.ndarray]:
    """One figure an image, a line for each of its largest objects.

    Each line holds the picture with the object and its prompted point, then for each row of the
    table the cosine to that point (dark 0, bright 1) and the mask at the row's threshold.

    Args:
        spec: the run.
        trained: row name -> its backbone and threshold.
        items: images; up to ``IMAGES`` with objects are shown, evenly spread.

    Returns:
        File stem -> (H, W, 3) uint8.
    """
    figures = {}
    for position in np.unique(np.linspace(0, len(items) - 1, IMAGES).round().astype(int)).tolist():
        name, scene = items.name(position), items[position]
        stem = name.strip("/").replace("/", "_")
        lines = _lines(spec, trained, scene)
        if lines and stem not in figures:
            figures[stem] = grid(lines)
    return figures


def _lines(
    spec: PromptSpec, trained: Mapping[str, Prompter], scene: Scene
) -> list[list[np.ndarray]]:
    maps = {row: spec.input.maps(each.backbone, scene.image)[0] for row, each in trained.items()}
    lines: list[list[np.ndarray]] = []
    size = (scene.ids.shape[0], scene.ids.shape[1])
    for number in _largest(spec, scene, next(iter(maps.values())).shape[1:]):
        point = centre_point(scene.ids == number)
        shown = draw_masks(scene.image, scene.ids, {number: _TRUTH}, strength=0.25)
        pictures = [_with_point(enlarge(shown, HEIGHT), point, size)]
        captions = ["object and point"]
        for row, features in maps.items():
            cell = cell_of(point, size, (features.shape[1], features.shape[2]))
            cosine = similarity_maps(features, [cell], size)[0].cpu().numpy()
            mask = (cosine > trained[row].threshold).astype(np.int64)
            found = enlarge(draw_masks(scene.image, mask, {1: _FOUND}), HEIGHT)
            pictures += [_with_point(enlarge(_heat(cosine), HEIGHT), point, size), found]
            captions += [row, f"above {trained[row].threshold:.2f}"]
        if not lines:
            pictures = [caption(p, c) for p, c in zip(pictures, captions, strict=True)]
        lines.append(pictures)
    return lines


def _largest(spec: PromptSpec, scene: Scene, cells: tuple[int, ...]) -> list[int]:
    kept, coverage = large_objects(scene.ids, scene.objects, (cells[0], cells[1]), spec.min_cells)
    order = np.argsort(-coverage.sum((1, 2)), kind="stable")[:OBJECTS]
    return [kept[k] for k in order]


def _heat(cosine: np.ndarray) -> np.ndarray:
    grey = (255 * np.clip(cosine, 0, 1)).round().astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(grey, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)


def _with_point(picture: np.ndarray, point: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    at = [
        int((place + 0.5) * shown / side)
        for place, shown, side in zip(point, picture.shape[:2], size, strict=True)
    ]
    for radius, colour in ((5, (255, 255, 255)), (3, _FOUND)):
        cv2.circle(picture, (at[1], at[0]), radius, colour, -1, cv2.LINE_AA)
    return picture
