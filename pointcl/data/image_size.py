"""The size of a picture from the head of its file, without decoding it."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from densecl.data.decode import UnreadableFileError, read_rgb

_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE = frozenset([0x01, *range(0xD0, 0xD8)])


def image_size(path: Path) -> tuple[int, int]:
    """(H, W) as stored; an EXIF orientation, which no camera of a vehicle writes, is left out.

    Raises:
        UnreadableFileError: missing, or no image.
    """
    try:
        with path.open("rb") as file:
            head = file.read(24)
            size = None
            if head[:8] == b"\x89PNG\r\n\x1a\n" and len(head) == 24:
                size = int.from_bytes(head[20:24], "big"), int.from_bytes(head[16:20], "big")
            elif head[:2] == b"\xff\xd8":
                file.seek(2)
                size = _jpeg_size(file)
    except OSError as error:
        raise UnreadableFileError(path, error.strerror or str(error)) from error
    return size or read_rgb(path).shape[:2]


def _jpeg_size(file: BinaryIO) -> tuple[int, int] | None:
    """From the first frame header, past all other segments; None where there is none."""
    while (mark := file.read(2)) and mark[0] == 0xFF:
        while mark[1] == 0xFF:  # fill bytes
            mark = b"\xff" + (file.read(1) or b"\x00")
        if mark[1] in _ALONE:
            continue
        length = int.from_bytes(file.read(2), "big")
        if mark[1] in _FRAME_HEADERS:
            body = file.read(5)
            return int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
        file.seek(length - 2, 1)
    return None
