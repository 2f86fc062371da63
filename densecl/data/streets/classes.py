"""The classes of the embedded world: CamVid's, in CamVid's order."""

from __future__ import annotations

SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST = range(11)
IGNORE = 255

CLASSES: tuple[str, ...] = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)

PALETTE: tuple[tuple[int, int, int], ...] = (
    (128, 160, 200),
    (140, 60, 50),
    (220, 220, 150),
    (110, 70, 120),
    (70, 80, 200),
    (90, 140, 60),
    (240, 140, 40),
    (110, 110, 110),
    (40, 50, 140),
    (230, 80, 160),
    (0, 190, 190),
)
"""RGB colours to draw a label map with; ``IGNORE`` is drawn black."""
