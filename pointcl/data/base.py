"""What all data sets of scans share: classes, drives, and a look at the data before training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from densecl.data.base import FileDataset, require_file
from densecl.data.names import Names
from densecl.errors import UsageError
from pointcl.data.scan import Scan
from pointcl.data.survey import ScanReport, survey


class ScanDataset(FileDataset[Scan]):
    """A data set of scans read from files; a reader adds ``name``, ``load`` and ``fingerprint``.

    Args:
        sequences: drive, log or room of each scan, "" = it stands alone; as many as there are
            scans.
        on_error: "raise", or "skip" = the next readable scan takes the place of a bad one; see
            ``FileDataset``.

    Attributes:
        sequences: list of str, per scan, so that splits by drive are possible.
        classes: names of the classes; the label ids are 0 to len(classes) - 1, 255 = ignore. Empty
            where scans carry no labels.
        palette: (L, 3) uint8 RGB, a colour for each class.

    Raises:
        UsageError: there are no scans, or ``on_error`` is neither.
    """

    classes: tuple[str, ...] = ()
    palette: np.ndarray = np.zeros((0, 3), np.uint8)

    def __init__(self, sequences: Sequence[str], on_error: str = "raise") -> None:
        if not sequences:
            raise UsageError(f"{type(self).__name__} found no scans")
        super().__init__(len(sequences), on_error)
        self.sequences = list(sequences)

    def check(self, count: int | None = 16, images: bool = True) -> ScanReport:
        """Read some scans with all that belongs to them, to find faults before a long run.

        Args:
            count: how many scans, evenly spread; None = all.
            images: whether to decode the cameras' pictures too.

        Returns:
            What was found. With ``on_error="skip"`` it lists what could not be read.

        Raises:
            UsageError: a scan or picture is unreadable (with ``on_error="raise"``), all are, or
                a camera sees no point of any scan.
        """
        many = len(self) if count is None else min(count, len(self))
        rows = np.linspace(0, len(self) - 1, many).round().astype(int).tolist()
        return survey(self, rows, skip=self._bad is not None, images=images)


def read_names(source: str | Path | Sequence[str], setting: str) -> list[str]:
    """Names given as a list, or as a text file with one a line.

    Raises:
        UsageError: no such file, or there are none; ``setting`` is what the user wrote it in.
    """
    if isinstance(source, (str, Path)):
        lines = Names.lines(require_file(source, setting).read_bytes())
        names = [lines[index] for index in range(len(lines))]
    else:
        names = [str(name) for name in source]
    if not names:
        raise UsageError(f"{setting}={str(source)!r} is empty", needed="a name a line, or a list")
    return names
