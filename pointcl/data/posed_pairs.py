"""Two scans of one place at a time, out of any data set of scans with poses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from densecl.data.base import FileDataset
from densecl.errors import UsageError
from pointcl.data.scan import Scan
from pointcl.pairs.folder import PairFolder
from pointcl.pairs.posed import ScanPair, ScanSource, candidate_pairs, load_scan, measure_overlap
from pointcl.registry import DATASETS

Listed = Sequence[ScanPair | tuple[int, int] | tuple[int, int, float]]


@DATASETS.register_module()
class PosedPairs(FileDataset[tuple[Scan, Scan]]):
    """Pairs of scans of one sequence; the poses say where their points meet.

    Args:
        dataset: a data set of scans, or the config of one.
        pairs: which scans: a folder that ``PairFolder`` wrote; a list of (first, second) or
            (first, second, overlap); a dict of options for the data set's own ``pairs``
            (``RGBDFrames`` has it); None = all scans of a sequence within the gaps.
        min_gap: steps from the first to the second, at least.
        max_gap: steps, at most; None = any.
        stride: only every so many scans of a sequence are used, and a step goes from one of these
            to the next. The gaps and the stride count without ``pairs`` only.
        min_overlap: least overlap of a pair. A folder and a list may know it; else all scans are
            read once to measure it, so for large data write a folder.
        voxel: metres, for that measurement.
        on_error: "raise" or "skip", see ``FileDataset``; a pair is skipped if one of its scans is.

    Raises:
        UsageError: no pair is left, a pair is not in the data, or a pose is unknown.
    """

    def __init__(
        self,
        dataset: ScanSource | Mapping[str, Any],
        pairs: str | Path | Listed | Mapping[str, Any] | None = None,
        min_gap: int = 1,
        max_gap: int | None = 1,
        stride: int = 1,
        min_overlap: float = 0.0,
        voxel: float = 0.05,
        on_error: str = "raise",
    ) -> None:
        self.dataset: ScanSource = (
            DATASETS.build(dict(dataset)) if isinstance(dataset, Mapping) else dataset
        )
        if not 0 <= min_overlap <= 1:
            raise UsageError(f"data.min_overlap={min_overlap!r}", needed="0 to 1")
        if isinstance(pairs, (str, Path)):
            found = PairFolder(pairs).pairs()
        elif isinstance(pairs, Mapping):
            found = [_listed(pair) for pair in _own_pairs(self.dataset, pairs)]
        elif pairs is not None:
            found = [_listed(pair) for pair in pairs]
        else:
            found = candidate_pairs(
                self.dataset.sequences, min_gap=min_gap, max_gap=max_gap, stride=stride
            )
        for pair in found:
            if (
                not 0
                <= min(pair.first, pair.second)
                <= max(pair.first, pair.second)
                < len(self.dataset)
            ):
                raise UsageError(
                    f"data.pairs: scans {pair.first} and {pair.second}",
                    needed=f"0 to {len(self.dataset) - 1}, the scans of the data set",
                )
        if min_overlap > 0:
            found = [
                pair
                for pair in _measured(self.dataset, found, voxel)
                if pair.overlap is not None and pair.overlap >= min_overlap
            ]
        if not found:
            raise UsageError(
                f"no two of the {len(self.dataset)} scans make a pair",
                needed="scans of one sequence within min_gap and max_gap that overlap",
                fix="raise data.max_gap, lower data.min_overlap or data.stride",
            )
        self.pairs = found
        super().__init__(len(found), on_error)

    @property
    def sequences(self) -> list[str]:
        """Sequence of each pair."""
        names = self.dataset.sequences
        return [names[pair.first] for pair in self.pairs]

    def name(self, index: int) -> str:
        """Names of both scans."""
        pair = self.pairs[index]
        return f"{self.dataset.name(pair.first)} + {self.dataset.name(pair.second)}"

    def load(self, index: int) -> tuple[Scan, Scan]:
        """Read both scans.

        Raises:
            UsageError: the pose of one is unknown.
            UnreadableFileError: a file cannot be read.
        """
        pair = self.pairs[index]
        scans = load_scan(self.dataset, pair.first), load_scan(self.dataset, pair.second)
        for scan in scans:
            if scan.ego_to_world is None:
                raise UsageError(
                    f"{scan.name} has no pose in the world",
                    needed="scans with known poses",
                    fix="use a data set with poses",
                )
        return scans

    def fingerprint(self) -> str:
        """Hash of the data set's and of the list of pairs."""
        rows = np.array([(pair.first, pair.second) for pair in self.pairs], np.int64)
        state = blake2b(self.dataset.fingerprint().encode(), digest_size=16)
        state.update(rows.tobytes())
        return state.hexdigest()


def _own_pairs(dataset: ScanSource, options: Mapping[str, Any]) -> Listed:
    make = getattr(dataset, "pairs", None)
    if make is None:
        raise UsageError(
            f"data.pairs={dict(options)!r}: {type(dataset).__name__} makes no pairs of its own",
            needed="a folder, a list, or None",
            fix="set data.max_gap and data.min_overlap, or write a folder of pairs",
        )
    listed: Listed = make(**options)
    return listed


def _listed(pair: ScanPair | Sequence[float]) -> ScanPair:
    if isinstance(pair, ScanPair):
        return pair
    if len(pair) not in (2, 3):
        raise UsageError(
            f"data.pairs: {tuple(pair)!r}", needed="(first, second) or (first, second, overlap)"
        )
    return ScanPair(int(pair[0]), int(pair[1]), float(pair[2]) if len(pair) == 3 else None)


def _measured(dataset: ScanSource, pairs: Sequence[ScanPair], voxel: float) -> list[ScanPair]:
    """The pairs, in their order, with the overlap of those that do not know it."""
    unknown = sorted({(pair.first, pair.second) for pair in pairs if pair.overlap is None})
    known = measure_overlap(dataset, [ScanPair(*pair) for pair in unknown], voxel=voxel)
    shares = {(pair.first, pair.second): pair for pair in known}
    return [pair if pair.overlap is not None else shares[pair.first, pair.second] for pair in pairs]
