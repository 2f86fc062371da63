"""Filling a store: in parallel, with progress, and from where an earlier build was stopped."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TextIO

from densecl.data.decode import UnreadableFileError
from densecl.errors import UsageError
from densecl.regions.method import Segmentation
from densecl.regions.progress import Progress
from densecl.regions.store import SegmentStore
from densecl.regions.workers import each


class Source(Protocol):
    """Inputs by number; picklable."""

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """Name under which the input's segments are stored; nothing is read for it."""

    def read(self, index: int) -> tuple[str, Any]:
        """The name and the input itself.

        Another name than ``name(index)`` says that the data set skipped an unreadable file and
        gave the next readable one.

        Raises:
            UnreadableFileError: a file cannot be read.
        """


class Items:
    """A data set whose items have a ``name``, such as one of scans, as a source.

    Args:
        dataset: with ``__len__``, ``__getitem__`` and ``name(i)``.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def name(self, index: int) -> str:
        """Name of an item."""
        return self.dataset.name(index)

    def read(self, index: int) -> tuple[str, Any]:
        """Name of the item that was read, and the item."""
        item = self.dataset[index]
        return item.name, item


@dataclass
class BuildReport:
    """What a build did.

    Attributes:
        computed: entries that were missing, changed or damaged and now are there.
        present: entries that were there already.
        replaced: of the computed ones, those whose input had changed or whose entry was damaged.
        regions: regions of the computed entries in total.
        unreadable: inputs that cannot be read, with the reason.
        remaining: inputs not looked at, since ``limit`` was reached.
    """

    computed: int = 0
    present: int = 0
    replaced: list[str] = field(default_factory=list)
    regions: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)
    remaining: int = 0


@dataclass(frozen=True)
class _Task:
    """Brings one input's entry up to date; runs in a worker."""

    store: SegmentStore
    source: Source
    compute: Segmentation

    def __call__(self, index: int) -> tuple[str, str, int, str]:
        """Name, what was found, number of regions computed, why it cannot be read."""
        wanted = self.source.name(index)
        try:
            name, item = self.source.read(index)
        except UnreadableFileError as error:
            return wanted, "unreadable", 0, error.reason
        if name != wanted:
            return wanted, "unreadable", 0, "skipped by the data set"
        identity = self.compute.identify(item)
        state = self.store.state(name, identity)
        if state == "present":
            return name, state, 0, ""
        try:
            segments = self.compute(item)
        except UsageError as error:
            raise UsageError(f"{name}: {error.given}", needed=error.needed, fix=error.fix) from None
        self.store.put(name, segments, identity)
        return name, state, segments.num_regions, ""


def build(
    store: SegmentStore,
    source: Source,
    compute: Segmentation,
    *,
    workers: int = 1,
    limit: int | None = None,
    indices: Sequence[int] | None = None,
    stream: TextIO | None = None,
) -> BuildReport:
    """Compute what a store lacks of a data set.

    Every input is read and its content compared with the entry's, so that replaced pictures are
    noticed; reading is a small part of segmenting. It may be killed at any time and run again.

    Args:
        store: made with ``compute.describe()``.
        source: the inputs, e.g. ``Items(scans)`` or ``Pictures(images)``.
        compute: the segmentation.
        workers: processes; 1 = this one.
        limit: stop when so many entries are computed; what other workers have begun is finished.
        indices: of the inputs; None = all.
        stream: where progress goes; None = standard error.

    Raises:
        UsageError: an input cannot be cut so.
        RuntimeError: a worker died.
    """
    store.remove_leftovers()
    wanted = range(len(source)) if indices is None else indices
    report = BuildReport(remaining=len(wanted))

    def until_limit() -> Iterator[int]:
        for index in wanted:
            if limit is not None and report.computed >= limit:
                return
            yield index

    with Progress("segments", len(wanted), stream or sys.stderr) as progress:
        for result in each(_Task(store, source, compute), until_limit(), workers):
            name, state, regions, reason = result
            report.remaining -= 1
            if state == "present":
                report.present += 1
            elif state == "unreadable":
                report.unreadable[name] = reason
            else:
                report.computed += 1
                report.regions += regions
                if state != "missing":
                    report.replaced.append(name)
            progress.update(worked=state != "present")
    return report
