"""Pictures of boxes: truth and detections on enlarged images."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from densecl.viz.tile import INK, PAPER, enlarge

COLOURS: tuple[tuple[int, int, int], ...] = (
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (230, 159, 0),
    (86, 180, 233),
    (240, 228, 66),
    (0, 0, 0),
)
"""Of the classes in turn; the palette of Okabe and Ito, told apart by colour-blind readers too."""
IGNORED = (150, 150, 150)
_OUTLINE = (255, 255, 255)


def class_colour(label: int) -> tuple[int, int, int]:
    """(r, g, b) of a class."""
    return COLOURS[label % len(COLOURS)]


def draw_boxes(
    image: np.ndarray,
    boxes: np.ndarray,
    labels: np.ndarray,
    *,
    height: int | None = None,
    ignore: np.ndarray | None = None,
    thickness: int = 2,
) -> np.ndarray:
    """The picture with a frame around each box.

    Args:
        image: (H, W, 3) uint8.
        boxes: (N, 4), (x0, y0, x1, y1) pixel edges of ``image``.
        labels: (N,) class ids, which give the colours.
        height: of the result; None = H.
        ignore: (N,) bool: drawn grey.
        thickness: of the frame, pixels of the result.

    Returns:
        (height, width, 3) uint8.
    """
    drawn = enlarge(image, image.shape[0] if height is None else height).copy()
    factor = np.tile([drawn.shape[1] / image.shape[1], drawn.shape[0] / image.shape[0]], 2)
    for at in range(len(boxes)):
        colour = IGNORED if ignore is not None and ignore[at] else class_colour(int(labels[at]))
        x0, y0, x1, y1 = np.round(boxes[at] * factor).astype(int).tolist()
        corners = ((x0, y0), (x1 - 1, y1 - 1))
        cv2.rectangle(drawn, *corners, _OUTLINE, thickness + 2)
        cv2.rectangle(drawn, *corners, colour, thickness)
    return drawn


def class_legend(classes: Sequence[str], width: int) -> np.ndarray:
    """A strip (h, width, 3) uint8 that says which colour is which class, in as many lines."""
    lines: list[list[tuple[int, int, str]]] = [[]]
    x = 6
    for label, name in enumerate(classes):
        (text, _), _ = cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, 0.42, 1)
        if lines[-1] and x + text + 22 > width:
            lines.append([])
            x = 6
        lines[-1].append((label, x, name))
        x += text + 34
    strip = np.full((20 * len(lines), width, 3), PAPER, np.uint8)
    for number, line in enumerate(lines):
        base = 20 * number + 14
        for label, x, name in line:
            cv2.rectangle(strip, (x, base - 9), (x + 10, base + 1), class_colour(label), -1)
            cv2.putText(
                strip, name, (x + 16, base), cv2.FONT_HERSHEY_SIMPLEX, 0.42, INK, 1, cv2.LINE_AA
            )
    return strip
