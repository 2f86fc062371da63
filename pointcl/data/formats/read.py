"""The one way into the file formats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from densecl.errors import UsageError
from pointcl.data.formats.arrays import read_npy, read_npz
from pointcl.data.formats.binary import read_bin
from pointcl.data.formats.cloud import Cloud, make_cloud
from pointcl.data.formats.fields import Columns, Fields
from pointcl.data.formats.las import read_las
from pointcl.data.formats.pcd import read_pcd
from pointcl.data.formats.ply import read_ply

_UNNAMED: dict[str, Callable[[Path, Columns], Fields]] = {
    ".bin": read_bin,
    ".npy": read_npy,
    ".npz": read_npz,
}
_NAMED: dict[str, Callable[[Path], Fields]] = {
    ".ply": read_ply,
    ".pcd": read_pcd,
    ".las": read_las,
    ".laz": read_las,
}
EXTENSIONS = (*_UNNAMED, *_NAMED)
"""Endings of the files that can be read."""


def read_cloud(
    path: str | Path, columns: Columns = None, intensity_scale: float | None = None
) -> Cloud:
    """Read a point file by its ending.

    Args:
        path: ``.bin``, ``.npy``, ``.npz``, ``.ply``, ``.pcd``, ``.las`` or ``.laz``.
        columns: what unnamed columns are: letters ("xyzi", "xyzrgb"; l = label, t = seconds, _ =
            left out), or names (["x", "y", "z", "intensity", "ring"]; unknown ones are left out);
            or, for files with names of their own, {name in the file: meaning}. None = by the usual
            names, and for unnamed columns three (xyz), four (xyzi) or, in ``.bin``, nuScenes' five.
        intensity_scale: the intensity that becomes 1. None: the largest value of 8 or 16 unsigned
            bits; anything else must already be in [0, 1].

    Raises:
        UnreadableFileError: the file is missing or damaged; says how.
        UsageError: another ending, unclear columns, an intensity of an unknown scale, or a package
            that the format needs is not installed.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending in _UNNAMED:
        fields = _UNNAMED[ending](path, columns)
    elif ending in _NAMED:
        fields = _NAMED[ending](path)
    else:
        raise UsageError(f"{path}: no format of points ends in {ending!r}", needed=_endings())
    return make_cloud(fields, path, columns, intensity_scale)


def _endings() -> str:
    return "one of " + ", ".join(EXTENSIONS)
