"""Files of the Point Cloud Library: ``.pcd``, text, binary or compressed."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from densecl.data.decode import UnreadableFileError
from pointcl.data.checks import read_bytes
from pointcl.data.formats.extra import need
from pointcl.data.formats.fields import Fields

_PACKED = ("rgb", "rgba")


@dataclass(frozen=True)
class _Header:
    names: list[str]
    dtype: np.dtype
    points: int
    data: str
    start: int


def read_pcd(path: Path) -> Fields:
    """Fields of a cloud in the order of the file; ``rgb`` becomes red, green and blue.

    A field of several values per point and padding (``_``) are left out. The viewpoint is not
    applied: the points stay in the frame they are stored in.

    Raises:
        UnreadableFileError: missing, truncated, or no PCD file.
        UsageError: the file is compressed, and python-lzf (it comes with pypcd4) is not installed.

    Source: the PCD file format, version 0.7, Point Cloud Library.
    """
    data = read_bytes(path)
    header = _parse(data, path)
    body = data[header.start :]
    if header.data == "ascii":
        columns = _text(body, header, path)
    elif header.data == "binary":
        need_bytes = header.points * header.dtype.itemsize
        if len(body) < need_bytes:
            raise UnreadableFileError(path, f"truncated: {len(body)} of {need_bytes} bytes")
        rows = np.frombuffer(body, header.dtype, header.points)
        columns = [rows[name] for name in header.dtype.names or ()]
    elif header.data == "binary_compressed":
        columns = _compressed(body, header, path)
    else:
        raise UnreadableFileError(path, f"DATA {header.data!r} is no encoding of PCD")
    fields: Fields = {}
    for name, values in zip(header.names, columns, strict=True):
        if values.ndim > 1 or name == "_":
            continue
        if name.lower() in _PACKED and values.dtype.itemsize == 4:
            bits = np.ascontiguousarray(values).view(np.uint32)
            for role, shift in (("red", 16), ("green", 8), ("blue", 0)):
                fields[role] = (bits >> shift & 255).astype(np.uint8)
        else:
            fields[name] = values
    return fields


def _parse(data: bytes, path: Path) -> _Header:
    entries: dict[str, list[str]] = {}
    start = 0
    while "DATA" not in entries:
        end = data.find(b"\n", start)
        if end < 0 or end - start > 1 << 16:
            raise UnreadableFileError(path, "no PCD header: its DATA line is missing")
        words = data[start:end].decode("ascii", errors="replace").split()
        start = end + 1
        if words and not words[0].startswith("#"):
            entries[words[0].upper()] = words[1:]
    try:
        names = entries["FIELDS"]
        counts = [int(count) for count in entries.get("COUNT", ["1"] * len(names))]
        kinds = [
            np.dtype(f"<{kind.lower()}{size}")
            for kind, size in zip(entries["TYPE"], entries["SIZE"], strict=True)
        ]
        points = int(entries["POINTS"][0]) if "POINTS" in entries else -1
        if points < 0:
            points = int(entries["WIDTH"][0]) * int(entries["HEIGHT"][0])
        fields = [
            (f"{i}", kind, (count,)) if count != 1 else (f"{i}", kind)
            for i, (kind, count) in enumerate(zip(kinds, counts, strict=True))
        ]
        if len(fields) != len(names):
            raise ValueError(f"{len(names)} fields, {len(fields)} types")
        return _Header(names, np.dtype(fields), points, entries["DATA"][0].lower(), start)
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise UnreadableFileError(path, f"damaged PCD header ({error})") from error


def _text(body: bytes, header: _Header, path: Path) -> list[np.ndarray]:
    shapes = [header.dtype[i].shape for i in range(len(header.names))]
    widths = [int(np.prod(shape)) for shape in shapes]
    words = body.split()
    if len(words) != header.points * sum(widths):
        raise UnreadableFileError(
            path, f"{len(words)} values for {header.points} points of {sum(widths)} values"
        )
    table = np.array(words, dtype=bytes).reshape(header.points, sum(widths))
    columns = []
    first = 0
    try:
        for i, width in enumerate(widths):
            kind = header.dtype[i].base
            values = table[:, first : first + width].astype(kind)
            columns.append(values if shapes[i] else values[:, 0])
            first += width
    except (ValueError, OverflowError) as error:
        raise UnreadableFileError(path, f"field {header.names[i]!r}: {error}") from error
    return columns


def _compressed(body: bytes, header: _Header, path: Path) -> list[np.ndarray]:
    """Values field after field, packed with LZF."""
    lzf = need("lzf", "compressed .pcd files")
    if len(body) < 8:
        raise UnreadableFileError(path, "truncated before its data")
    packed, size = struct.unpack("<II", body[:8])
    wanted = header.points * header.dtype.itemsize
    if len(body) < 8 + packed or size != wanted:
        found = f"{len(body) - 8} of {packed} packed bytes, {size} of {wanted} unpacked"
        raise UnreadableFileError(path, f"truncated: {found}")
    try:
        raw = lzf.decompress(body[8 : 8 + packed], size) if size else b""
    except ValueError as error:
        raise UnreadableFileError(path, f"damaged compressed data ({error})") from error
    if raw is None or len(raw) != size:
        raise UnreadableFileError(path, "damaged compressed data")
    columns = []
    start = 0
    for i in range(len(header.names)):
        kind = header.dtype[i]
        count = header.points * int(np.prod(kind.shape))
        values = np.frombuffer(raw, kind.base, count, start).reshape(header.points, *kind.shape)
        columns.append(values)
        start += count * kind.base.itemsize
    return columns
