"""One entry of a segment store as bytes: the same segments give the same bytes.

Layout, little endian::

    magic      8 bytes   b"segment1"
    length     4 bytes   of the header
    header     JSON      store key, name, source, and (name, dtype, shape) of each array
    payload    zlib      the arrays one after the other
    checksum   4 bytes   CRC-32 of everything before it

No zip: a zip holds times, and reading its directory takes longer than the regions of a small image.
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from densecl.regions.segments import Segments

MAGIC = b"segment1"
_LEVEL = 6


class DamagedEntryError(ValueError):
    """Bytes that are no whole entry; the message says in what way."""


@dataclass
class Entry:
    """One input's segments with what they were computed from.

    Attributes:
        key: of the store, hence of the method and its settings.
        name: of the input.
        source: hash of the input's content.
        segments: its regions.
    """

    key: str
    name: str
    source: str
    segments: Segments


def encode(entry: Entry) -> bytes:
    """The bytes of an entry; ids take the narrowest of 1, 2 and 4 bytes.

    Raises:
        ValueError: the segments do not fit together, or an id does not fit into 32 bits.
    """
    entry.segments.check()
    arrays = {"ids": _narrow(entry.segments.ids)}
    if entry.segments.levels is not None:
        arrays["levels"] = _narrow(entry.segments.levels)
    for name in sorted(entry.segments.scores):
        values = entry.segments.scores[name]
        arrays[f"scores/{name}"] = values.astype(values.dtype.newbyteorder("<"))
    table = [[name, array.dtype.str, list(array.shape)] for name, array in arrays.items()]
    header = json.dumps(
        {"arrays": table, "key": entry.key, "name": entry.name, "source": entry.source}
    ).encode()
    body = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays.values())
    data = MAGIC + struct.pack("<I", len(header)) + header + zlib.compress(body, _LEVEL)
    return data + struct.pack("<I", zlib.crc32(data))


def decode(data: bytes) -> Entry:
    """The entry in some bytes; ids and levels as int32.

    Raises:
        DamagedEntryError: cut short, changed, or something else.
    """
    header, start = read_header(data)
    try:
        body = zlib.decompress(memoryview(data)[start:-4])
        arrays: dict[str, np.ndarray] = {}
        offset = 0
        for name, dtype, shape in header["arrays"]:
            count = int(np.prod(shape, dtype=np.int64))
            array = np.frombuffer(body, dtype, count, offset).reshape(shape)
            offset += array.nbytes
            arrays[name] = _widen(array) if name in ("ids", "levels") else array.copy()
        ids, levels = arrays.pop("ids"), arrays.pop("levels", None)
        scores = {name.removeprefix("scores/"): array for name, array in arrays.items()}
        segments = Segments.unchecked(ids, scores, levels)
        return Entry(header["key"], header["name"], header["source"], segments)
    except (ValueError, KeyError, TypeError, zlib.error) as error:
        raise DamagedEntryError(f"its content does not fit its header ({error})") from error


def read_header(data: bytes) -> tuple[dict[str, Any], int]:
    """Check the sum, return the header and where the payload starts.

    Raises:
        DamagedEntryError: cut short, changed, or something else.
    """
    if data[: len(MAGIC)] != MAGIC or len(data) < len(MAGIC) + 8:
        raise DamagedEntryError("it is empty, cut short, or no entry of a segment store")
    if zlib.crc32(memoryview(data)[:-4]) != struct.unpack("<I", data[-4:])[0]:
        raise DamagedEntryError("its checksum does not fit")
    start = len(MAGIC) + 4
    stop = start + struct.unpack("<I", data[start - 4 : start])[0]
    try:
        return json.loads(data[start:stop]), stop
    except ValueError as error:
        raise DamagedEntryError("its header is no JSON") from error


def _narrow(ids: np.ndarray) -> np.ndarray:
    """Ids from -1 on as ids from 0 on, in the narrowest type."""
    highest = int(ids.max(initial=-1)) + 1
    if highest > 0x7FFFFFFF:
        raise ValueError(f"region id {highest - 1} does not fit into 32 bits")
    dtype = "<u1" if highest < 1 << 8 else "<u2" if highest < 1 << 16 else "<u4"
    return (ids.astype(np.int64) + 1).astype(dtype)


def _widen(stored: np.ndarray) -> np.ndarray:
    ids = stored.astype(np.int32)
    ids -= 1
    return ids
