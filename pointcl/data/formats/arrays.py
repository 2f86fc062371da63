"""Arrays of numpy: ``.npy`` and ``.npz``."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from densecl.data.decode import UnreadableFileError
from densecl.errors import UsageError
from pointcl.data.formats.fields import COLOUR, NORMAL, POSITION, Columns, Fields, column_names

_POINTS = ("xyz", "points", "point", "coord", "coords", "position", "positions", "pos")
_TRIPLES = {
    **dict.fromkeys(("colour", "colours", "color", "colors", "rgb"), COLOUR),
    **dict.fromkeys(("normal", "normals"), NORMAL),
}
_PLAIN = {3: POSITION, 4: (*POSITION, "intensity")}
_NOT_AN_ARRAY = (ValueError, EOFError, OSError, zipfile.BadZipFile, KeyError)


def read_npy(path: Path, columns: Columns = None) -> Fields:
    """Fields of a structured array, or the columns of an (N, >= 3) array.

    Raises:
        UnreadableFileError: missing, damaged, of another shape, or of Python objects.
        UsageError: more than four columns, and nobody said what they are.
    """
    array = load_array(path)
    if array.dtype.names:
        flat = array.reshape(-1)
        return {name: flat[name] for name in array.dtype.names}
    return _columns(array, path, "its array", columns)


def read_npz(path: Path, columns: Columns = None) -> Fields:
    """Fields of an archive: points, and further arrays of one row per point.

    The points are ``xyz``, ``points`` or ``coord``, (..., >= 3); whole numbers are multiplied by
    the archive's ``scale``. An organised scan (rows, columns, 3) is read row by row. Given columns
    are those of wider points; three are x, y and z.

    Raises:
        UnreadableFileError: missing, damaged, or without points.
        UsageError: more than four columns of points, and nobody said what they are.
    """
    archive = _load(path)
    if isinstance(archive, np.ndarray):
        raise UnreadableFileError(path, "a single array; name it .npy")
    try:
        with archive:
            arrays = {name: archive[name] for name in archive.files}
    except _NOT_AN_ARRAY as error:
        raise UnreadableFileError(path, f"damaged archive ({error})") from error
    lower = {name.lower(): name for name in arrays}
    key = next((lower[name] for name in _POINTS if name in lower), None)
    if key is None:
        if set(POSITION) <= set(lower):
            return {name: array.reshape(-1) for name, array in arrays.items()}
        names = ", ".join(arrays) or "no array"
        raise UnreadableFileError(path, f"no points (xyz, points or coord); it has {names}")
    points = arrays.pop(key)
    if points.dtype.kind in "iu" and "scale" in arrays:
        points = points * float(arrays.pop("scale"))
    organised = points.shape[:-1]
    plain = points.shape[-1:] == (3,) and len(column_names(columns) or ()) != 3
    fields = _columns(points, path, key, None if plain else columns)
    count = len(fields["x"])
    for name, array in arrays.items():
        triple = _TRIPLES.get(name.lower())
        if triple and array.shape in ((*organised, 3), (count, 3)):
            fields |= {role: array.reshape(-1, 3)[:, i] for i, role in enumerate(triple)}
        elif triple:
            raise UnreadableFileError(path, f"{name} of shape {array.shape} for {count} points")
        else:
            fields[name] = array.reshape(-1) if array.size == count else array
    return fields


def load_array(path: Path) -> np.ndarray:
    """The array of a ``.npy`` file.

    Raises:
        UnreadableFileError: missing, damaged, or of Python objects.
    """
    array = _load(path)
    if not isinstance(array, np.ndarray):
        raise UnreadableFileError(path, "an archive of arrays; name it .npz")
    return array


def _load(path: Path) -> np.ndarray | np.lib.npyio.NpzFile:
    try:
        return np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise UnreadableFileError(path, error.strerror or str(error)) from error
    except _NOT_AN_ARRAY as error:
        reason = "the file is empty" if path.exists() and not path.stat().st_size else str(error)
        raise UnreadableFileError(path, f"no array that numpy can load ({reason})") from error


def _columns(array: np.ndarray, path: Path, name: str, columns: Columns) -> Fields:
    if array.ndim < 2 or array.dtype.kind not in "fiu":
        kind = f"{array.shape} {array.dtype}"
        raise UnreadableFileError(path, f"{name} is {kind}, not (N, 3 or more) numbers")
    width = array.shape[-1]
    roles = column_names(columns) or _PLAIN.get(width)
    if roles is None:
        if array.shape[0] in (3, 4) or width < 3:
            raise UnreadableFileError(path, f"{name} is {array.shape}; a row is a point: (N, 3)")
        raise UsageError(
            f"{path}: {name} has {width} columns",
            needed="the meaning of each",
            fix='set data.columns, e.g. "xyzrgb"; "_" leaves one out',
        )
    if len(roles) != width:
        raise UnreadableFileError(path, f"{name} has {width} columns, data.columns {len(roles)}")
    rows = array.reshape(-1, width)
    return {role or f"column {i}": rows[:, i] for i, role in enumerate(roles)}
