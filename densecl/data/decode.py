"""Image files to arrays, with one clear error for every way a file can be bad."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np

from densecl.errors import UsageError

IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


class UnreadableFileError(UsageError):
    """A file that cannot be read; the only error that ``on_error="skip"`` steps over."""

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(
            f"{path}: {reason}",
            fix='mend or remove the file, or set on_error="skip" to use the next readable one',
        )
        self.path, self.reason = str(path), reason

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.path, self.reason)


def read_rgb(path: str | Path) -> np.ndarray:
    """Decode an image file.

    As cv2's IMREAD_COLOR: grey images get three equal channels, an alpha channel is dropped, of
    16 bits the upper 8 are kept, and the EXIF orientation is applied.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        UnreadableFileError: missing, empty, truncated, or no image.
    """
    return decode_rgb(_read(path), path)


def decode_rgb(data: bytes, path: str | Path) -> np.ndarray:
    """``read_rgb`` of an image that is already in memory; ``path`` says whose it is.

    Raises:
        UnreadableFileError: truncated, or no image.
    """
    image = _decode(path, cv2.IMREAD_COLOR, data)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)


def read_ids(path: str | Path) -> np.ndarray:
    """Decode a label file without touching its values.

    Palette PNGs give their indices, not their colours. Label files carry no EXIF orientation, and
    none is applied.

    Returns:
        (H, W) uint8 or uint16, or (H, W, 3) uint8 RGB for a label file in colours.

    Raises:
        UnreadableFileError: missing, empty, truncated, or no image.
    """
    data = _read(path)
    values = _decode(path, cv2.IMREAD_UNCHANGED, data)
    if values.ndim == 2:
        return values
    if values.ndim == 3 and values.shape[2] == 2:  # grey and alpha
        return np.ascontiguousarray(values[..., 0])
    palette = _png_palette(data)
    colours = np.ascontiguousarray(values[..., 2::-1])
    return colours if palette is None else _palette_index(colours, palette, path)


def _read(path: str | Path) -> bytes:
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UnreadableFileError(path, error.strerror or str(error)) from error
    if not data:
        raise UnreadableFileError(path, "the file is empty")
    return data


def _decode(path: str | Path, flags: int, data: bytes) -> np.ndarray:
    # cv2 fills what a cut-off file lacks with grey and says nothing
    if data[:2] == b"\xff\xd8" and data.rfind(b"\xff\xd9") < 0:
        raise UnreadableFileError(path, "truncated JPEG: its end marker is missing")
    if data[:4] == b"\x89PNG" and b"IEND" not in data[-64:]:
        raise UnreadableFileError(path, "truncated PNG: its end chunk is missing")
    try:
        image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
    except cv2.error as error:
        raise UnreadableFileError(path, f"cv2 cannot decode it ({error.err})") from error
    if image is None:
        raise UnreadableFileError(path, "not an image that cv2 can decode")
    return image


def _png_palette(data: bytes) -> np.ndarray | None:
    """(L, 3) RGB palette of an indexed PNG, or None."""
    indexed = data[:4] == b"\x89PNG" and len(data) > 26 and data[25] == 3
    offset = 8
    while indexed and offset + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[offset : offset + 8])
        if kind == b"PLTE":
            body = np.frombuffer(data, dtype=np.uint8, count=length, offset=offset + 8)
            return body.reshape(-1, 3)
        offset += 12 + length
    return None


def _palette_index(colours: np.ndarray, palette: np.ndarray, path: str | Path) -> np.ndarray:
    weights = np.array([1 << 16, 1 << 8, 1])
    keys = palette @ weights
    used, inverse = np.unique(colours.reshape(-1, 3) @ weights, return_inverse=True)
    index = np.empty(len(used), dtype=np.uint8)
    for position, key in enumerate(used):
        matches = np.flatnonzero(keys == key)
        if len(matches) != 1:
            raise UnreadableFileError(
                path, f"its palette gives colour #{key:06x} to {len(matches)} indices"
            )
        index[position] = matches[0]
    return index[inverse].reshape(colours.shape[:2])
