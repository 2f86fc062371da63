"""What all data sets share: indexing, bad files, and a fingerprint."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch

from densecl.data.decode import UnreadableFileError
from densecl.data.names import Names
from densecl.data.sample import Sample
from densecl.errors import UsageError

Item = TypeVar("Item")

_LOG = logging.getLogger("densecl.data")

# how many files a fingerprint measures: enough to notice a change, cheap on a network disk
_MEASURED = 1024


class FileDataset(ABC, Generic[Item]):
    """A data set of items read from files.

    Args:
        length: number of samples.
        on_error: what an unreadable file does: "raise", or "skip" = the next readable sample
            takes its place, in every epoch the same one, and ``skipped`` lists it.

    Raises:
        UsageError: ``on_error`` is neither.
    """

    def __init__(self, length: int, on_error: str = "raise") -> None:
        if on_error not in ("raise", "skip"):
            raise UsageError(f"data.on_error={on_error!r}", needed='"raise" or "skip"')
        self._length = length
        # shared memory: what a worker finds unreadable, the main process and the others know
        self._bad = (
            torch.zeros(length, dtype=torch.bool).share_memory_() if on_error == "skip" else None
        )

    @abstractmethod
    def name(self, index: int) -> str:
        """Path or key of a sample, for messages."""

    @abstractmethod
    def load(self, index: int) -> Item:
        """Read one sample.

        Raises:
            UnreadableFileError: one of its files cannot be read.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """A hash that changes with the data set's contents; cheap to compute."""

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Item:
        """Sample ``index``, or the next readable one when bad files are skipped.

        Raises:
            IndexError: out of range.
            UsageError: the file is unreadable; or all are.
        """
        if not 0 <= index < self._length:
            raise IndexError(f"sample {index} of {self._length}")
        if self._bad is None:
            return self.load(index)
        for step in range(self._length):
            candidate = (index + step) % self._length
            if self._bad[candidate]:
                continue
            try:
                return self.load(candidate)
            except UnreadableFileError as error:
                self._bad[candidate] = True
                _LOG.warning("skipped %s: %s", error.path, error.reason)
        raise UsageError(
            f"none of the {self._length} samples can be read, the first is {self.name(0)}",
            fix='set on_error="raise" to see why',
        )

    @property
    def skipped(self) -> list[str]:
        """Names of the samples found unreadable so far, by any worker."""
        if self._bad is None:
            return []
        return [self.name(int(index)) for index in self._bad.nonzero().flatten()]


class ImageDataset(FileDataset[Sample]):
    """A data set of images; see ``FileDataset``."""


def fingerprint_files(root: Path, names: Names, extra: Iterable[object] = ()) -> str:
    """Hash of all names and of the sizes of up to 1024 of the files, evenly spread.

    Args:
        root: folder the names are relative to.
        names: file names.
        extra: settings that change what is read from them.
    """
    state = blake2b(names.digest().encode(), digest_size=16)
    step = max(1, -(-len(names) // _MEASURED))
    for index in np.arange(0, len(names), step):
        path = root / names[int(index)]
        state.update(b"%d," % (path.stat().st_size if path.exists() else -1))
    state.update(repr(list(extra)).encode())
    return state.hexdigest()


def require_folder(path: str | Path, setting: str) -> Path:
    """The folder as a path.

    Raises:
        UsageError: it does not exist or is no folder.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        found = "is not a folder" if folder.exists() else "does not exist"
        raise UsageError(
            f"{setting}={str(path)!r} {found}",
            needed="a folder",
            fix=f"set {setting} to where the data lies; relative paths start at {Path.cwd()}",
        )
    return folder


def require_file(path: str | Path, setting: str) -> Path:
    """The file as a path.

    Raises:
        UsageError: it does not exist or is no file.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise UsageError(
            f"{setting}={str(path)!r} is not a file",
            needed="a file",
            fix=f"set {setting} to where it lies; relative paths start at {Path.cwd()}",
        )
    return file
