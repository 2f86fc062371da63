"""Any data set of scans with the segments of a store on it."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from densecl.engine.names import arguments_of, check_arguments, registered
from densecl.errors import UsageError
from densecl.regions.store import EntryError, SegmentStore
from pointcl.data.scan import Scan
from pointcl.registry import DATASETS


@DATASETS.register_module()
class WithSegments:
    """A data set whose scans carry ``regions["segment"]``: (N,) int64, -1 = none.

    The views then hold the ids under the same name, and so do their rows.

    Args:
        dataset: of scans, or its config ``dict(type=..., ...)``.
        store: folder of the segment store.
        method: settings that the store must have been built with, e.g.
            ``dict(type="Dbscan", eps=0.25)``; those left out may be any. None = whatever it has.
        check: "content" = each scan is compared with the one that was segmented; "shape" = only
            its number of points.
        foreground: also carry ``regions["foreground"]``, the ids of the segments whose foreground
            score is at least this number, -1 elsewhere. None = no such regions.

    Raises:
        UsageError: no such store, one of images or of other settings, or one that lacks a scan of
            the data set.
    """

    def __init__(
        self,
        dataset: Any,
        store: str | Path,
        method: Mapping[str, Any] | None = None,
        check: str = "content",
        foreground: float | None = 0.5,
    ) -> None:
        from pointcl.regions.build import build_segmentation, with_segments

        if check not in ("content", "shape"):
            raise UsageError(f"data.check={check!r}", needed='"content" or "shape"')
        self.dataset = build_dataset(dataset)
        self.store = SegmentStore.open(store, method)
        self.check, self.foreground = check, foreground
        if self.store.kind != "cloud":
            raise UsageError(f"data.store={str(store)!r} holds segments of images, not of clouds")
        self._segmentation = None
        self._attach = with_segments
        if check == "content":
            self._segmentation = build_segmentation({"type": self.store.method["type"]})
        self._require_all()

    def __len__(self) -> int:
        return len(self.dataset)

    def __getattr__(self, name: str) -> Any:
        # classes, palette, sequences, ...: what the data set offers beyond its scans
        if name.startswith("__") or name == "dataset":
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def name(self, index: int) -> str:
        """Name of a scan."""
        return self.dataset.name(index)

    def fingerprint(self) -> str:
        """Hash of the data set and of the segmentation's settings."""
        key = repr((self.dataset.fingerprint(), self.store.key, self.foreground))
        return blake2b(key.encode(), digest_size=16).hexdigest()

    def __getitem__(self, index: int) -> Scan:
        """A scan with its segments.

        Raises:
            EntryError: the store has none of it, or of another scan under its name.
        """
        scan = self.dataset[index]
        source = None if self._segmentation is None else self._segmentation.identify(scan)
        segments = self.store.get(scan.name, source)
        if segments.ids.shape != (len(scan),):
            raise EntryError(
                f"{self.store.folder}: the segments of {scan.name} are of {len(segments.ids)} "
                f"points, the scan has {len(scan)}",
                state="changed",
                fix=f"compute them again: {self.store.build_command()}",
            )
        return self._attach(scan, segments, self.foreground)

    def _require_all(self) -> None:
        """Stop before a run starts that would stop later."""
        names = [self.dataset.name(index) for index in range(len(self.dataset))]
        lacking = set(self.store.missing(names))
        for index, name in enumerate(names):
            # a data set that skips unreadable files gives the next scan: that one must be there
            if name in lacking and self.dataset[index].name in lacking:
                raise EntryError(
                    f"the store {self.store.folder} lacks {len(lacking)} of {len(names)} scans, "
                    f"the first is {name}",
                    fix=f"build them: {self.store.build_command()}",
                )


def build_dataset(config: Any) -> Any:
    """A data set as it is, or built from its config.

    Raises:
        UsageError: no such type, or it takes other arguments.
    """
    if not isinstance(config, Mapping):
        return config
    cls = registered(DATASETS, config.get("type"), "data.dataset.type")
    check_arguments("data.dataset", config, cls)
    return cls(**arguments_of(config))
