"""Polygon files: ``.ply``, text or binary; the vertices are the points."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np

from densecl.data.decode import UnreadableFileError
from pointcl.data.checks import read_bytes
from pointcl.data.formats.extra import need
from pointcl.data.formats.fields import Fields

_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">"}
_TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"},
    **{"float": "f4", "double": "f8", "float32": "f4", "float64": "f8"},
}


def read_ply(path: Path) -> Fields:
    """Properties of the vertices, lists left out.

    Raises:
        UnreadableFileError: missing, truncated, no PLY file, or without vertices.
        UsageError: plyfile, which text files and odd ones need, is not installed.
    """
    vertices = read_vertices(path)
    names = vertices.dtype.names or ()
    return {name: vertices[name] for name in names if vertices.dtype[name].kind != "O"}


def read_vertices(path: Path) -> np.ndarray:
    """(N,) structured array of the vertices; what follows them in the file is not read.

    Raises:
        UnreadableFileError: missing, truncated, no PLY file, or without vertices.
        UsageError: plyfile, which text files and odd ones need, is not installed.
    """
    data = read_bytes(path)
    vertices = _plain_vertices(data, path)
    if vertices is None:
        plyfile = need("plyfile", ".ply files")
        try:
            content = plyfile.PlyData.read(BytesIO(data), mmap=False)
        except (plyfile.PlyParseError, ValueError, IndexError) as error:
            raise UnreadableFileError(path, f"not a whole PLY file ({error})") from error
        vertices = content["vertex"].data if "vertex" in content else np.empty(0)
    if not len(vertices):
        raise UnreadableFileError(path, "a PLY file without vertices")
    return vertices


def _plain_vertices(data: bytes, path: Path) -> np.ndarray | None:
    """The usual file: binary, first the vertices, no lists in them; None for any other.

    plyfile goes through the faces, which are lists, one by one: a second for a room.
    """
    head, found, rest = data.partition(b"end_header")
    lines = [line.split() for line in head.decode("ascii", errors="replace").splitlines()]
    lines = [words for words in lines if words and words[0] not in ("comment", "obj_info")]
    if not found or len(lines) < 3 or lines[0] != ["ply"] or len(lines[1]) != 3:
        return None
    order = _ORDERS.get(lines[1][1])
    if order is None or lines[2][:2] != ["element", "vertex"] or not lines[2][-1].isdecimal():
        return None
    kinds = []
    for words in lines[3:]:
        if words[0] == "element":
            break
        if len(words) != 3 or words[1] not in _TYPES:
            return None
        kinds.append((words[2], order + _TYPES[words[1]]))
    if len({name for name, _ in kinds}) != len(kinds):
        return None
    start = len(head) + len(found) + 1 + (rest[:1] == b"\r")
    count, row = int(lines[2][-1]), np.dtype(kinds)
    if len(data) - start < count * row.itemsize:
        reason = f"truncated: {len(data) - start} bytes for {count} vertices of {row.itemsize}"
        raise UnreadableFileError(path, reason)
    return np.frombuffer(data, row, count, start)
