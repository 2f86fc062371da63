"""One cell of a study: a fine-tuning run, cached under a hash of everything that decides it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from densecl.errors import UsageError
from densecl.files import read_json, write_atomically, write_json
from densecl.transfer.columns import columns_of
from densecl.transfer.initialisation import Init
from densecl.transfer.task import Task

SCHEMA = 1
"""Part of every cell's hash; raised when the meaning of a run changes."""


@dataclass(frozen=True)
class Cell:
    """One run.

    Attributes:
        row: name of the table's row, for messages only: two rows that start from the same weights
            and train alike share their cells.
        spec: the run, at its point of the grid.
        init: fingerprint of the starting weights.
        seed: of head, crops and dropout, and of random weights.
        subset: name of the label subset, for messages only.
        items: names of the training images.
        data: fingerprints of the training and validation sets.
    """

    row: str
    spec: Task
    init: str
    seed: int
    subset: str
    items: tuple[str, ...]
    data: tuple[str, str]

    def identity(self) -> dict[str, Any]:
        """Everything that decides the result."""
        return {
            "schema": SCHEMA,
            "torch": torch.__version__,
            "spec": self.spec.to_dict(),
            "init": self.init,
            "seed": self.seed,
            "items": list(self.items),
            "data": list(self.data),
        }

    def key(self) -> str:
        """Hash of ``identity``, a file name."""
        return digest(self.identity())


def digest(value: object) -> str:
    """20 hex digits of a JSON-able value; key order does not matter."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=10).hexdigest()


def init_fingerprint(init: Init) -> str:
    """Of starting weights: the same content gives the same string, wherever it lies.

    Raises:
        UsageError: a path without a file.
    """
    if init is None:
        return "random"
    hasher = hashlib.blake2b(digest_size=16)
    if isinstance(init, (str, Path)):
        if not Path(init).is_file():
            raise UsageError(f"no weights at {init}", fix="pretrain first, or correct the path")
        with open(init, "rb") as file:
            while block := file.read(1 << 20):
                hasher.update(block)
        return f"file:{hasher.hexdigest()}"
    for name in sorted(init):
        value = init[name].detach().cpu().contiguous()
        hasher.update(f"{name}|{value.dtype}|{tuple(value.shape)}|".encode())
        hasher.update(value.flatten().view(torch.uint8).numpy().tobytes())
    return f"state:{hasher.hexdigest()}"


def data_fingerprint(dataset: Any) -> str:
    """The data set's own ``fingerprint()``, else a hash of its names."""
    if hasattr(dataset, "fingerprint"):
        return str(dataset.fingerprint())
    return digest([dataset.name(i) for i in range(len(dataset))])


class CellStore:
    """Results and weights of cells in a folder.

    Args:
        folder: ``<key>.json`` (result), ``<key>.test.json`` (test result), ``<key>.pt``
            (weights of the trained segmentor).
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def result(self, cell: Cell) -> dict[str, Any] | None:
        """The stored result on validation, or None.

        One without a number for each column, from before the column was there, is none.
        """
        stored = read_json(self.folder / f"{cell.key()}.json")
        return stored["result"] if stored is not None and _whole(stored, cell) else None

    def save_result(self, cell: Cell, result: Mapping[str, Any]) -> None:
        """Store a result with the identity it belongs to."""
        value = {"row": cell.row, "subset": cell.subset, "identity": cell.identity()}
        write_json(self.folder / f"{cell.key()}.json", {**value, "result": dict(result)})

    def test_result(self, cell: Cell, test_data: str) -> dict[str, Any] | None:
        """The stored result on the test split of that fingerprint, or None; see ``result``."""
        stored = read_json(self.folder / f"{cell.key()}.test.json")
        if stored is None or stored["data"] != test_data or not _whole(stored, cell):
            return None
        return stored["result"]

    def save_test_result(self, cell: Cell, test_data: str, result: Mapping[str, Any]) -> None:
        """Store a result on the test split."""
        value = {"data": test_data, "result": dict(result)}
        write_json(self.folder / f"{cell.key()}.test.json", value)

    def weights_path(self, cell: Cell) -> Path:
        """Where the trained segmentor's state dict lies, once saved."""
        return self.folder / f"{cell.key()}.pt"

    def save_weights(self, cell: Cell, state: Mapping[str, Tensor]) -> None:
        """Store the trained segmentor's weights."""
        path = self.weights_path(cell)
        write_atomically(path, lambda temporary: torch.save(dict(state), temporary))

    def weights(self, cell: Cell) -> dict[str, Tensor] | None:
        """The trained segmentor's weights, or None."""
        path = self.weights_path(cell)
        return torch.load(path, weights_only=True) if path.is_file() else None

    def drop_weights(self, cell: Cell) -> None:
        """Forget a cell's weights; its results stay."""
        self.weights_path(cell).unlink(missing_ok=True)


def _whole(stored: Mapping[str, Any], cell: Cell) -> bool:
    return all(column.key in stored["result"] for column in columns_of(cell.spec))
