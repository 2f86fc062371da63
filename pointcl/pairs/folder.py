"""Pairs of scans prepared once: which scans overlap, and which of their points are the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from densecl.errors import UsageError
from densecl.files import read_json, remove_leftovers, write_json
from densecl.pairs import Pairs, PointSet, match_by_distance, match_from_file, save_pairs
from pointcl.pairs.overlap import relative_pose, scan_overlap
from pointcl.pairs.posed import ScanPair, ScanSource, load_scan
from pointcl.sensors.pose import move
from pointcl.views.crops import usable_rows

if TYPE_CHECKING:
    from pointcl.data.scan import Scan

FORMAT = "pointcl.pair_folder/1"
SETTINGS = "settings.json"


class PairFolder:
    """A folder of prepared pairs of a data set of scans.

    ``overlap/FIRST.json`` holds the partners of one scan and their overlap, and
    ``points/FIRST-SECOND.pt`` the pairs of their points by scan and raw row, so that they hold in
    every view of the scans. Each file appears whole or not at all; what is there is not made
    again, so a stopped run goes on where it was.

    Args:
        root: the folder; made by ``write``.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).expanduser()

    def write(
        self,
        dataset: ScanSource,
        candidates: Sequence[ScanPair],
        *,
        min_overlap: float = 0.3,
        voxel: float = 0.05,
        radius: float | None = None,
        workers: int = 0,
    ) -> list[ScanPair]:
        """Measure the candidates and keep those that overlap; goes on where it stopped.

        Args:
            dataset: with poses.
            candidates: see ``candidate_pairs``.
            min_overlap: least overlap of a pair that is kept.
            voxel: metres, for the overlap.
            radius: metres; each point is paired with the nearest of the other scan that is
                closer. None = no pairs of points, they are matched when training.
            workers: processes; 0 = this one. The result does not depend on it.

        Returns:
            The pairs kept, ordered by (first, second).

        Raises:
            UsageError: the folder holds pairs of other data or settings; a pose is unknown.
        """
        if not 0 <= min_overlap <= 1:
            raise UsageError(f"pairs: min_overlap={min_overlap!r}", needed="0 to 1")
        self._begin(dataset, candidates, min_overlap=min_overlap, voxel=voxel, radius=radius)
        groups = [list(group) for _, group in groupby(sorted(candidates), lambda pair: pair.first)]
        left = [group for group in groups if not self._overlap_file(group[0].first).exists()]
        work = _Work(self, dataset, left, min_overlap, voxel, radius)
        for _ in DataLoader(work, batch_size=None, num_workers=workers):
            pass
        return self.pairs()

    def pairs(self, min_overlap: float = 0.0) -> list[ScanPair]:
        """The pairs that were kept, with at least this overlap, ordered by (first, second).

        Raises:
            UsageError: there is no such folder, or it is not complete.
        """
        settings = self._settings()
        kept = {first: read_json(self._overlap_file(first)) for first in settings["first"]}
        missing = [first for first, partners in kept.items() if partners is None]
        if missing:
            raise UsageError(
                f"{self.root} is not complete: {len(missing)} of {len(settings['first'])} scans "
                "are missing",
                fix="run PairFolder.write again; it goes on where it stopped",
            )
        return [
            ScanPair(first, second, share)
            for first, partners in kept.items()
            for second, share in partners or ()
            if share >= min_overlap
        ]

    def match(self, src: PointSet, dst: PointSet) -> Pairs:
        """The prepared pairs between the rows at hand; see ``match_from_file``.

        Args:
            src: rows of the first scan of each sample, with ``index`` and ``source``.
            dst: rows of the second.

        Returns:
            Pairs ordered by (src, dst); samples whose scans were not prepared have none.

        Raises:
            ValueError: ids are missing, a sample shows several scans, or samples differ.
            UsageError: a file is damaged.
        """
        # Pairs are stored once, from the earlier scan to the later; a sample may have them swapped.
        found = [Pairs.empty(len(src), len(dst), src.device)]
        for a, b in sorted(set(zip(_sources(src), _sources(dst), strict=True))):
            if a < 0 or b < 0:
                continue
            path = self.points_file(min(a, b), max(a, b))
            if not path.exists():
                continue
            if a <= b:
                found.append(match_from_file(path, src, dst))
            else:
                found.append(match_from_file(path, dst, src).swap())
        return Pairs.cat(found).sort()

    def points_file(self, first: int, second: int) -> Path:
        """File of the pairs of points of two scans, by their ``source``."""
        return self.root / "points" / f"{_stem(first)}-{_stem(second)}.pt"

    def _overlap_file(self, first: int) -> Path:
        return self.root / "overlap" / f"{_stem(first)}.json"

    def _begin(self, dataset: ScanSource, candidates: Sequence[ScanPair], **chosen: Any) -> None:
        asked = {
            "format": FORMAT,
            "data": dataset.fingerprint(),
            "candidates": _digest(candidates),
            "first": sorted({pair.first for pair in candidates}),
            **chosen,
        }
        if (self.root / SETTINGS).exists():
            there = self._settings()
            wrong = [name for name, value in asked.items() if there.get(name) != value]
            if wrong:
                raise UsageError(
                    f"{self.root} holds pairs of other {', '.join(wrong)}",
                    fix="choose another folder, or delete this one",
                )
        for name in ("overlap", "points"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
            remove_leftovers(self.root / name)
        write_json(self.root / SETTINGS, asked)

    def _settings(self) -> dict[str, Any]:
        content = read_json(self.root / SETTINGS)
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise UsageError(
                f"{self.root} is no folder of pairs",
                needed=f"{SETTINGS} of format {FORMAT!r}",
                fix="make it with PairFolder.write",
            )
        return content


class _Work(Dataset[int]):
    """Item n measures all partners of one scan and writes their files.

    A data set, because the loader's workers share its items out and hand on what goes wrong.
    """

    def __init__(
        self,
        folder: PairFolder,
        dataset: ScanSource,
        groups: Sequence[Sequence[ScanPair]],
        min_overlap: float,
        voxel: float,
        radius: float | None,
    ) -> None:
        self.folder, self.dataset, self.groups = folder, dataset, groups
        self.min_overlap, self.voxel, self.radius = min_overlap, voxel, radius

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, number: int) -> int:
        group = self.groups[number]
        first = load_scan(self.dataset, group[0].first)
        kept = []
        for pair in group:
            second = load_scan(self.dataset, pair.second)
            share = max(scan_overlap(first, second, voxel=self.voxel))
            if share < self.min_overlap:
                continue
            kept.append([pair.second, share])
            if self.radius is not None:
                self._write_points(first, second, self.radius)
        # last: its presence says that the scan is done
        write_json(self.folder._overlap_file(group[0].first), kept)
        return number

    def _write_points(self, first: Scan, second: Scan, radius: float) -> None:
        if second.source < first.source:
            first, second = second, first
        src = _point_set(first, np.eye(4))
        dst = _point_set(second, relative_pose(second, first))
        pairs = match_by_distance(src, dst, radius=radius, normaliser=None, k=1)
        save_pairs(pairs, self.folder.points_file(first.source, second.source), src, dst)


def _point_set(scan: Scan, pose: np.ndarray) -> PointSet:
    rows = usable_rows(scan.points)
    return PointSet(
        {},
        torch.zeros(len(rows), dtype=torch.int64),
        torch.from_numpy(move(pose, scan.points[rows])),
        num_samples=1,
        source=torch.full((len(rows),), scan.source),
        index=torch.from_numpy(rows),
    )


def _sources(points: PointSet) -> Iterator[int]:
    """The one scan that each sample shows, -1 for a sample without rows."""
    if points.source is None:
        raise ValueError("the set has no source")
    found = points.source.new_full((points.num_samples,), -1)
    found[points.sample] = points.source
    if not torch.equal(found[points.sample], points.source):
        raise ValueError("a sample shows several scans")
    return iter(found.tolist())


def _digest(candidates: Sequence[ScanPair]) -> str:
    rows = np.array(sorted((pair.first, pair.second) for pair in candidates), np.int64)
    return blake2b(rows.tobytes(), digest_size=16).hexdigest()


def _stem(number: int) -> str:
    return f"{number:08d}"
