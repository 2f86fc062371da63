"""Where a view is cut: random resized crops, and crops that share ground with another."""

from __future__ import annotations

import math

import numpy as np

Box = tuple[int, int, int, int]  # (x0, y0, x1, y1), in source pixels, x1 and y1 exclusive

_TRIES = 10


def random_box(
    size: tuple[int, int],
    scale: tuple[float, float],
    ratio: tuple[float, float],
    random: np.random.Generator,
) -> Box:
    """A box of random area, shape and place.

    Ten draws of (area, log aspect); the first that fits is taken, at a uniform place. If none
    fits, the largest central box within the aspect limits.

    Args:
        size: (H, W) of the source.
        scale: range of area as a share of the source's.
        ratio: range of width / height.
        random: where the draws come from.

    Source: Szegedy et al. 2015, as torchvision's RandomResizedCrop does it.
    """
    height, width = size
    area = height * width
    for _ in range(_TRIES):
        target = area * random.uniform(*scale)
        aspect = math.exp(random.uniform(math.log(ratio[0]), math.log(ratio[1])))
        w = round(math.sqrt(target * aspect))
        h = round(math.sqrt(target / aspect))
        if 0 < w <= width and 0 < h <= height:
            y0 = int(random.integers(0, height - h + 1))
            x0 = int(random.integers(0, width - w + 1))
            return x0, y0, x0 + w, y0 + h
    aspect = width / height
    w, h = width, height
    if aspect < ratio[0]:
        h = max(1, round(width / ratio[0]))
    elif aspect > ratio[1]:
        w = max(1, round(height * ratio[1]))
    x0, y0 = (width - w) // 2, (height - h) // 2
    return x0, y0, x0 + w, y0 + h


def overlap(a: Box, b: Box) -> float:
    """Shared area as a share of the smaller box."""
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return max(w, 0) * max(h, 0) / min(areas)


def overlapping_box(
    size: tuple[int, int],
    scale: tuple[float, float],
    ratio: tuple[float, float],
    random: np.random.Generator,
    anchor: Box,
    least: float,
) -> Box:
    """A random box that overlaps ``anchor`` by at least ``least`` of the smaller of the two.

    Ten draws; if none overlaps enough, the best of them is moved straight towards the anchor's
    centre, just far enough. Only where the two shapes are too unlike to reach ``least`` at all
    does the result stay below it, at the most they allow.
    """
    best, best_overlap = anchor, -1.0
    for _ in range(_TRIES):
        box = random_box(size, scale, ratio, random)
        shared = overlap(box, anchor)
        if shared >= least:
            return box
        if shared > best_overlap:
            best, best_overlap = box, shared
    return _moved_towards(best, anchor, size, least)


def _moved_towards(box: Box, anchor: Box, size: tuple[int, int], least: float) -> Box:
    height, width = size
    w, h = box[2] - box[0], box[3] - box[1]
    goal_x = min(max((anchor[0] + anchor[2] - w) // 2, 0), width - w)
    goal_y = min(max((anchor[1] + anchor[3] - h) // 2, 0), height - h)
    steps = max(abs(goal_x - box[0]), abs(goal_y - box[1]), 1)

    def at(step: int) -> Box:
        x0 = box[0] + round((goal_x - box[0]) * step / steps)
        y0 = box[1] + round((goal_y - box[1]) * step / steps)
        return x0, y0, x0 + w, y0 + h

    # overlap grows along the way, so the first step that reaches it is found by halving
    low, high = 0, steps
    while low < high:
        middle = (low + high) // 2
        if overlap(at(middle), anchor) >= least:
            high = middle
        else:
            low = middle + 1
    return at(high)
