"""Pictures packed into the page: small, of bounded size together, and the same at every writing."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

SIDE = 1600
"""Longest side of a picture in pixels."""

BUDGET = 12_000_000
"""Bytes of all pictures of a page; more than that makes all of them smaller."""

QUALITY, LOSSLESS = 84, 101
TRIES = 4

FLAT = 0.5
"""A picture flatter than this may be smaller without loss, so that is tried too."""


@dataclass(frozen=True)
class Packed:
    """A picture as a data URI.

    Attributes:
        uri: of the picture.
        width, height: in pixels.
    """

    uri: str
    width: int
    height: int


def pack(paths: Sequence[Path], *, side: int = SIDE, budget: int = BUDGET) -> dict[Path, Packed]:
    """Pack pictures; files that hold none are left out.

    Args:
        paths: of the files.
        side: longest side in pixels.
        budget: bytes of all together; all are made smaller until they fit, within a few tries.
    """
    shrink = 1.0
    for _ in range(TRIES):
        encoded = {p: found for p in paths if (found := _encode(p, side, shrink)) is not None}
        total = sum(len(data) for data, _, _ in encoded.values())
        if total <= budget:
            break
        shrink *= math.sqrt(budget / total) * 0.95
    return {
        path: Packed("data:image/webp;base64," + b64encode(data).decode("ascii"), width, height)
        for path, (data, width, height) in encoded.items()
    }


def _encode(path: Path, side: int, shrink: float) -> tuple[bytes, int, int] | None:
    data = np.fromfile(path, np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if image is None:
        return None
    height, width = image.shape[:2]
    scale = min(1.0, side / max(height, width)) * shrink
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    qualities = [QUALITY]
    if flatness(image) > FLAT:
        qualities.append(LOSSLESS)
    written = [_webp(image, quality) for quality in qualities]
    return min(written, key=len), image.shape[1], image.shape[0]


def flatness(image: np.ndarray) -> float:
    """Share of pixels that equal their left neighbour, as most do in a label map."""
    return float((image[:, 1:] == image[:, :-1]).all(2).mean()) if image.shape[1] > 1 else 1.0


def _webp(image: np.ndarray, quality: int) -> bytes:
    done, data = cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, quality])
    if not done:
        raise ValueError(f"cannot encode a picture of shape {image.shape}")
    return data.tobytes()
