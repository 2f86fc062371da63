"""nuScenes' JSON tables row by row.

The tables of the full data set hold 2.6 million rows of files and as many poses, several
gigabytes as Python objects; what the key frames need of them are some tens of megabytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from densecl.errors import UsageError

Row = dict[str, Any]

_CHUNK = 1 << 20
_LONGEST_ROW = 1 << 23


def read_table(folder: Path, name: str, *fields: str) -> Iterator[Row]:
    """The rows of ``<folder>/<name>.json`` one by one; each is known to have ``fields``.

    Raises:
        UsageError: no such table, it is no list of objects, cut off, or a row lacks a field.
    """
    path = folder / f"{name}.json"
    if not path.is_file():
        raise UsageError(
            f"{path} does not exist",
            needed=f"the table {name} of nuScenes",
            fix="unpack the metadata of this version below data.root",
        )
    for number, row in enumerate(_objects(path)):
        if not isinstance(row, dict) or any(field not in row for field in fields):
            lacks = [field for field in fields if not isinstance(row, dict) or field not in row]
            raise UsageError(
                f"{path}, row {number} has no {', '.join(lacks)}",
                needed=f"an object with {', '.join(fields)}",
            )
        yield row


def _objects(path: Path) -> Iterator[Any]:
    """The elements of a JSON list, decoded one at a time from a window of the file."""
    decode = json.JSONDecoder().raw_decode
    with path.open(encoding="utf-8") as file:
        text = file.read(_CHUNK)
        at = _skip(text, 0, " \t\r\n")
        if text[at : at + 1] != "[":
            raise UsageError(f"{path} is no table", needed="a JSON list of objects")
        at += 1
        while True:
            at = _skip(text, at, " \t\r\n,")
            if text[at : at + 1] == "]":
                return
            try:
                value, at = decode(text, at)
            except ValueError as error:
                more = file.read(_CHUNK)
                if not more or len(text) - at > _LONGEST_ROW:
                    raise UsageError(
                        f"{path} is damaged or cut off: {error}", fix="unpack it again"
                    ) from error
                text, at = text[at:] + more, 0
                continue
            yield value


def _skip(text: str, at: int, blank: str) -> int:
    while at < len(text) and text[at] in blank:
        at += 1
    return at
