"""Finding the files of KITTI's layouts."""

from __future__ import annotations

import os
from pathlib import Path

from densecl.data.decode import UnreadableFileError
from densecl.errors import UsageError

PICTURES = (".png", ".jpg", ".jpeg")


def scan_stems(folder: Path, suffix: str = ".bin") -> list[str]:
    """Names without their ending of the files of a folder, sorted.

    Raises:
        UsageError: there are none.
    """
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.name.endswith(suffix))
    if not names:
        raise UsageError(f"{folder} holds no {suffix} file", needed=f"scans NUMBER{suffix}")
    return [name.removesuffix(suffix) for name in names]


def find_picture(folder: Path, stem: str) -> Path:
    """The picture of that name; KITTI's are PNG, copies of them are often JPEG.

    Raises:
        UnreadableFileError: there is none.
    """
    for ending in PICTURES:
        path = folder / f"{stem}{ending}"
        if path.is_file():
            return path
    raise UnreadableFileError(folder / f"{stem}{PICTURES[0]}", "No such file or directory")
