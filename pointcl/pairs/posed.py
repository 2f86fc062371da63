"""Which scans of a sequence are worth pairing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from densecl.errors import UsageError
from pointcl.pairs.overlap import scan_overlap

if TYPE_CHECKING:
    from pointcl.data.scan import Scan


class ScanSource(Protocol):
    """What a data set of scans must offer."""

    @property
    def sequences(self) -> Sequence[str]:
        """Sequence of each scan."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Scan: ...

    def name(self, index: int) -> str:
        """Path or key of a scan."""

    def fingerprint(self) -> str:
        """A hash that changes with the contents."""


def load_scan(dataset: ScanSource, index: int) -> Scan:
    """Scan ``index`` itself, also of a data set that puts the next readable one in its place.

    Raises:
        UnreadableFileError: the file cannot be read.
    """
    load = getattr(dataset, "load", dataset.__getitem__)
    scan: Scan = load(index)
    return scan


@dataclass(frozen=True, order=True)
class ScanPair:
    """Two scans of a data set that show the same place.

    Attributes:
        first, second: their places in the data set, first < second.
        overlap: the larger of the two shares, or None = not measured.
    """

    first: int
    second: int
    overlap: float | None = None


def candidate_pairs(
    sequences: Sequence[str], *, min_gap: int = 1, max_gap: int | None = None, stride: int = 1
) -> list[ScanPair]:
    """All pairs of scans of one sequence, some steps apart.

    Args:
        sequences: of each scan; the scans of one sequence are in order of time. "" = alone.
        min_gap: least number of steps from the first to the second.
        max_gap: most of them; None = any.
        stride: only every so many scans of a sequence are used (PointContrast: 25), and a step
            goes from one of these to the next.

    Returns:
        Pairs ordered by (first, second).

    Raises:
        UsageError: a number is not positive, or the gaps are an empty range.
    """
    last = min_gap if max_gap is None else max_gap
    if min_gap < 1 or stride < 1 or last < min_gap:
        raise UsageError(
            f"pairs: min_gap={min_gap}, max_gap={max_gap}, stride={stride}",
            needed="1 or more, and min_gap at most max_gap",
        )
    found = []
    names = np.asarray(sequences, dtype=object)
    for name in dict.fromkeys(sequences):
        if name == "":
            continue
        rows = np.flatnonzero(names == name)[::stride]
        for place, first in enumerate(rows):
            stop = None if max_gap is None else place + max_gap + 1
            found += [ScanPair(int(first), int(second)) for second in rows[place + min_gap : stop]]
    return sorted(found)


def measure_overlap(
    dataset: ScanSource, candidates: Iterable[ScanPair], *, voxel: float = 0.05
) -> list[ScanPair]:
    """The candidates with their overlap: the larger of the two shares.

    Args:
        dataset: with poses.
        candidates: ordered by ``first``, so that each scan is read once for all its partners.
        voxel: metres; see ``scan_overlap``.

    Raises:
        UsageError: a pose is unknown.
    """
    measured, place, scan = [], -1, None
    for pair in candidates:
        if pair.first != place or scan is None:
            place, scan = pair.first, load_scan(dataset, pair.first)
        shares = scan_overlap(scan, load_scan(dataset, pair.second), voxel=voxel)
        measured.append(ScanPair(pair.first, pair.second, max(shares)))
    return measured
