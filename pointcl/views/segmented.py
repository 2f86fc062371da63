"""Views of scans that get their segments on the way, where no store holds them."""

from __future__ import annotations

import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.utils.data import get_worker_info

from densecl.regions.segments import Segments
from pointcl.data.scan import Scan
from pointcl.views.view import CloudView

Views = Callable[[Scan | Sequence[Scan], int], list[CloudView]]


class SegmentedViews:
    """Segments each scan before its views are cut; what a scan brings along is used instead.

    That costs time in every epoch, for an outdoor sweep more than to cut its views: the first scan
    says how much. The segments of the last ``kept`` scans are remembered, so a small data set is
    segmented once by each process that loads it.

    Args:
        views: cuts the views of a sample, e.g. a ``CloudViewGenerator``.
        method: "outdoors", "indoors", or ``dict(type="Dbscan", ...)``.
        threshold: least foreground score of foreground segments.
        kept: scans.

    Raises:
        UsageError: no such segmentation, or a setting out of range.
    """

    def __init__(
        self,
        views: Views,
        method: str | Mapping[str, Any],
        *,
        threshold: float = 0.5,
        kept: int = 256,
    ) -> None:
        from pointcl.regions import build_segmentation

        self.views, self.threshold, self.kept = views, threshold, kept
        self.segmentation = build_segmentation(method)
        self.known: OrderedDict[tuple[int, str], Segments] = OrderedDict()
        self.warned = False

    def __call__(self, scans: Scan | Sequence[Scan], epoch: int) -> list[CloudView]:
        """The views of one sample, with ``regions`` "segment" and "foreground"."""
        if isinstance(scans, Scan):
            return self.views(self.segmented(scans), epoch)
        return self.views([self.segmented(scan) for scan in scans], epoch)

    def segmented(self, scan: Scan) -> Scan:
        """The scan with its segments; the same scan where it has some."""
        from pointcl.regions import with_segments

        if "segment" in scan.regions:
            return scan
        key = (scan.source, scan.name)
        segments = self.known.pop(key, None)
        if segments is None:
            start = time.process_time()
            segments = self.segmentation(scan)
            self._warn(scan, time.process_time() - start)
        self.known[key] = segments
        if len(self.known) > self.kept:
            self.known.popitem(last=False)
        return with_segments(scan, segments, self.threshold)

    def _warn(self, scan: Scan, seconds: float) -> None:
        worker = get_worker_info()
        if self.warned or (worker is not None and worker.id > 0):
            return
        self.warned = True
        warnings.warn(
            f"segments are computed while training: {seconds:.2g} s of CPU time for the "
            f"{len(scan)} points of {scan.name}, again in every epoch for more than {self.kept} "
            "scans; to compute them once, see `pointcl segments`, and take "
            "data.type='WithSegments'",
            stacklevel=2,
        )
