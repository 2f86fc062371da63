"""Airborne and mobile surveys: ``.las`` and ``.laz``."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from densecl.data.decode import UnreadableFileError
from pointcl.data.formats.extra import need
from pointcl.data.formats.fields import POSITION, Fields

_SIZE_OF_HEADER = 227


def read_las(path: Path) -> Fields:
    """Dimensions of the points; x, y and z are scaled to metres in float64.

    Raises:
        UnreadableFileError: missing, truncated, or no LAS file.
        UsageError: laspy, or lazrs for a compressed file, is not installed.
    """
    laspy = need("laspy", ".las and .laz files")
    if path.suffix.lower() == ".laz":
        need("lazrs", ".laz files")
    try:
        if path.stat().st_size < _SIZE_OF_HEADER:
            raise UnreadableFileError(path, "truncated: shorter than a LAS header")
        file = laspy.read(path)
    except OSError as error:
        raise UnreadableFileError(path, error.strerror or str(error)) from error
    # lazrs' own error is a RuntimeError
    except (laspy.LaspyException, ValueError, RuntimeError, struct.error) as error:
        if isinstance(error, UnreadableFileError):
            raise
        raise UnreadableFileError(path, f"not a whole LAS file ({error})") from error
    if len(file.points) != file.header.point_count:
        found = f"{len(file.points)} of {file.header.point_count} points"
        raise UnreadableFileError(path, f"truncated: {found}")
    fields: Fields = {axis: np.asarray(getattr(file, axis), np.float64) for axis in POSITION}
    for name in file.point_format.dimension_names:
        if name.lower() not in POSITION:
            fields[name] = np.asarray(file[name])
    return fields
