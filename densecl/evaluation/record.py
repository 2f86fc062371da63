"""``evaluation.json``: what was compared, how, and where it lies; the report is made from it."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from densecl.evaluation.rows import EvaluatedRow, Refused
from densecl.files import write_json
from densecl.transfer.protocol_file import ProtocolFile
from densecl.transfer.tables import PlannedTable
from densecl.weights.schema import code_version

SCHEMA = 1
FILE = "evaluation.json"


@dataclass
class Record:
    """What ``evaluation.json`` holds.

    Attributes:
        out: its folder.
        suite: name of the suite.
        command: what regenerates everything.
        rows: that were given and are whole.
        refused: rows and protocols that are not in the tables.
        protocols: each with its tables: (title of the table, its own command, the table).
        randoms: names of rows of random weights.
    """

    out: Path
    suite: str
    command: str
    rows: Sequence[EvaluatedRow]
    refused: list[Refused]
    protocols: list[tuple[ProtocolFile, list[tuple[str, str, PlannedTable]]]] = field(
        default_factory=list
    )
    randoms: Sequence[str] = ()

    def write(self) -> Path:
        """Write the file, atomically."""
        path = self.out / FILE
        write_json(path, self.to_dict())
        return path

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "schema": SCHEMA,
            "suite": self.suite,
            "command": self.command,
            "versions": {
                "densecl": code_version(),
                "torch": torch.__version__,
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
            "rows": [*map(row_dict, self._shown()), *({"name": name} for name in self.randoms)],
            "refused": [{"name": each.name, "reason": each.reason} for each in self.refused],
            "protocols": [
                _protocol_dict(self.out, protocol, tables)
                for protocol, tables in self.protocols
                if tables
            ],
        }

    def _shown(self) -> list[EvaluatedRow]:
        """The rows that stand in a table; one may be refused by the protocols alone."""
        tables = [table for _, planned in self.protocols for _, _, table in planned]
        names = {row.name for table in tables for row in table.study.rows}
        return [row for row in self.rows if row.name in names]


def row_dict(row: EvaluatedRow) -> dict[str, Any]:
    """A row as it was loaded; of several files the first is described, all are named."""
    file = row.files[0]
    filled, wanted = file.tensors
    stated = {k: v for k, v in vars(row.told).items() if v is not None}
    said: dict[str, Any] = dict(file.input)
    said |= {k: _plain(v) for k, v in stated.items() if k in said and said[k] is None}
    notes = list(file.notes)
    notes += [f"told: {name} = {_plain(value)}" for name, value in stated.items()]
    return {
        "name": row.name,
        "file": str(file.path),
        "files": [str(each.path) for each in row.files],
        "fingerprint": row.fingerprint(file),
        "fingerprints": [row.fingerprint(each) for each in row.files],
        "layout": file.layout,
        "method": file.method,
        "branch": file.branch,
        "backbone": file.words,
        "coverage": f"{filled} of {wanted} tensors",
        "input": said,
        "key_map": [list(pair) for pair in file.key_map],
        "notes": notes,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value


def _protocol_dict(
    out: Path, protocol: ProtocolFile, tables: Sequence[tuple[str, str, PlannedTable]]
) -> dict[str, Any]:
    identity = tables[0][2].identity
    return {
        "name": protocol.name,
        "run": protocol.run,
        "version": identity.version,
        "hash": identity.hash,
        "text": protocol.text(),
        "tables": [
            {
                "share": table.share,
                "folder": table.folder.relative_to(out).as_posix(),
                "title": title,
                "command": command,
            }
            for title, command, table in tables
        ],
    }
