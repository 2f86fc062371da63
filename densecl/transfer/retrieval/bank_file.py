"""A bank in a file: written block by block, mapped into memory, read without filling it.

Layout: 8 bytes of magic, JSON padded to a page, features, and labels at the next page; row-major,
little-endian, ``rows`` x ``dim`` and ``rows`` x ``classes``.
"""

from __future__ import annotations

import json
import mmap
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from densecl.errors import UsageError
from densecl.files import write_atomically
from densecl.transfer.retrieval.bank import Bank, no_cells

MAGIC = b"DCLBANK1"
PAGE = 4096
TAKEN = 128
"""Rows taken at once: the system may map far more than the page of each."""
TYPES = {"float16": torch.float16, "float32": torch.float32}


def write_bank(path: str | Path, pictures: Iterable[tuple[Tensor, Tensor]]) -> Path:
    """Write the rows of each picture as they come; the file appears when all are written.

    Args:
        path: the file; its folder is made.
        pictures: (n, D) and (n, L) of one type, see ``bank_rows``; n may be 0.

    Raises:
        UsageError: no row in any of them.
        ValueError: a machine whose numbers are not little-endian.
    """
    if sys.byteorder != "little":
        raise ValueError("bank files are little-endian")

    path = Path(path)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file, tempfile.TemporaryFile(dir=path.parent) as beside:
            _write(file, beside, pictures)

    write_atomically(path, write)
    return path


def _write(file: BinaryIO, beside: Any, pictures: Iterable[tuple[Tensor, Tensor]]) -> None:
    file.write(bytes(PAGE))
    about: dict[str, Any] = {"rows": 0}
    for features, labels in pictures:
        about["rows"] += len(features)
        about |= {"dim": features.shape[1], "classes": labels.shape[1]}
        about["dtype"] = str(features.dtype).removeprefix("torch.")
        file.write(features.contiguous().numpy().data)
        beside.write(labels.contiguous().numpy().data)
    if not about["rows"]:
        raise no_cells()
    file.write(bytes(-file.tell() % PAGE))
    beside.seek(0)
    shutil.copyfileobj(beside, file)
    file.seek(0)
    file.write(MAGIC + json.dumps(about).encode())


def open_bank(path: str | Path) -> Bank:
    """Map a file of ``write_bank``; only what is read is loaded.

    Raises:
        UsageError: another file, or one that is cut short.
    """
    path = Path(path)
    with path.open("rb") as file:
        head = file.read(PAGE)
        if not head.startswith(MAGIC):
            raise UsageError(f"{path} is no bank", needed="a file of write_bank")
        about = json.loads(head[len(MAGIC) :].rstrip(b"\0"))
        dtype, rows = TYPES[about["dtype"]], about["rows"]
        size = rows * about["dim"] * dtype.itemsize
        second = PAGE + size + -(PAGE + size) % PAGE
        needed = second + rows * about["classes"] * dtype.itemsize
        found = path.stat().st_size
        if found != needed:
            raise UsageError(f"{path} has {found} bytes", needed=f"{needed}", fix="write it again")
        # private: the tensors over it may count as writable, the file never changes
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    return Bank(
        MappedRows(mapped, PAGE, rows, about["dim"], dtype),
        MappedRows(mapped, second, rows, about["classes"], dtype),
    )


class MappedRows:
    """Rows of a mapped file; pages that were read are given back as the reader moves on.

    Args:
        mapped: the file, private.
        offset: where the rows start, a multiple of the page.
        rows, dim: M and D.
        dtype: of the numbers.
    """

    def __init__(
        self, mapped: mmap.mmap, offset: int, rows: int, dim: int, dtype: torch.dtype
    ) -> None:
        self._mapped, self._offset = mapped, offset
        numbers = np.frombuffer(
            mapped, str(dtype).removeprefix("torch."), count=rows * dim, offset=offset
        )
        self.tensor = torch.from_numpy(numbers).view(rows, dim)

    @property
    def shape(self) -> torch.Size:
        """(M, D)."""
        return self.tensor.shape

    def blocks(self, bounds: Iterable[tuple[int, int]]) -> Iterator[Tensor]:
        """Rows [start, stop) of each pair of bounds; each is valid until the next is asked for."""
        ahead = list(bounds)
        for position, (start, stop) in enumerate(ahead):
            if position + 1 < len(ahead):
                self._advise("MADV_WILLNEED", *ahead[position + 1])  # read while this one is used
            yield self.tensor[start:stop]
            self._advise("MADV_DONTNEED", start, stop)

    def take(self, index: Tensor) -> Tensor:
        """Rows (..., D) at indices of any shape."""
        flat = index.cpu().flatten()
        out = self.tensor.new_empty(len(flat), self.tensor.shape[1])
        for start in range(0, len(flat), TAKEN):
            part = slice(start, start + TAKEN)
            torch.index_select(self.tensor, 0, flat[part], out=out[part])
            self._advise("MADV_DONTNEED", 0, len(self.tensor))
        return out.view(*index.shape, -1)

    def _advise(self, what: str, start: int, stop: int) -> None:
        advice = getattr(mmap, what, None)
        if advice is None or start == stop:
            return  # a system that decides alone what stays
        width = self.tensor.shape[1] * self.tensor.element_size()
        # the pages on either edge may belong to a neighbour too: dropped, they are read again
        first = (self._offset + start * width) // mmap.PAGESIZE * mmap.PAGESIZE
        self._mapped.madvise(advice, first, self._offset + stop * width - first)
