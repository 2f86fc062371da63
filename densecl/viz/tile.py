"""Lay pictures out in a captioned grid and write them as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from densecl.files import write_atomically

INK = (40, 40, 40)
PAPER = 255


def enlarge(image: np.ndarray, height: int, *, smooth: bool = True) -> np.ndarray:
    """Scale an (H, W, 3) picture to a given height, keeping its aspect."""
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    shrink = height < image.shape[0]
    how = cv2.INTER_AREA if shrink else (cv2.INTER_CUBIC if smooth else cv2.INTER_NEAREST)
    return np.ascontiguousarray(cv2.resize(image, (width, height), interpolation=how))


def caption(image: np.ndarray, text: str) -> np.ndarray:
    """Put one line of text above an (H, W, 3) picture; the text is shrunk to fit."""
    strip = np.full((20, image.shape[1], 3), PAPER, np.uint8)
    scale = 0.42
    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    scale *= min(1.0, (image.shape[1] - 6) / max(width, 1))
    cv2.putText(strip, text, (3, 14), cv2.FONT_HERSHEY_SIMPLEX, scale, INK, 1, cv2.LINE_AA)
    return np.concatenate([strip, image])


def grid(
    rows: Sequence[Sequence[np.ndarray]], captions: Sequence[str] = (), *, gap: int = 4
) -> np.ndarray:
    """Stack rows of equally tall pictures; captions stand over the first row's columns.

    Args:
        rows: pictures (H, W, 3) uint8 RGB; within a row all of one height.
        captions: one per column, or none.
        gap: white pixels between pictures.

    Returns:
        (H', W', 3) uint8.
    """
    lines = []
    for number, row in enumerate(rows):
        pictures = list(row)
        if number == 0 and captions:
            pictures = [caption(p, t) for p, t in zip(pictures, captions, strict=True)]
        spacer = np.full((pictures[0].shape[0], gap, 3), PAPER, np.uint8)
        parts = [part for picture in pictures for part in (picture, spacer)]
        lines.append(np.concatenate(parts[:-1], axis=1))
    width = max(line.shape[1] for line in lines)
    padded = [
        np.pad(line, ((0, gap), (0, width - line.shape[1]), (0, 0)), constant_values=PAPER)
        for line in lines
    ]
    return np.concatenate(padded)[:-gap]


def write_png(path: str | Path, image: np.ndarray) -> Path:
    """Write an (H, W, 3) uint8 RGB picture atomically; folders are made as needed."""
    path = Path(path)
    ok, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if not ok:
        raise ValueError(f"cannot encode a picture of shape {image.shape}, {image.dtype}")
    write_atomically(path, lambda temporary: temporary.write_bytes(data.tobytes()))
    return path
