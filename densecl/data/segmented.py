"""Any image data set with the regions of a segment store on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from densecl.data.sample import Frame, Sample
from densecl.errors import UsageError
from densecl.regions.pictures import Pictures, frame_name
from densecl.regions.segments import digest
from densecl.regions.store import EntryError, SegmentStore
from densecl.registry import DATASETS


@DATASETS.register_module()
class WithSegments:
    """A data set whose frames carry ``maps["region"]``: (H, W) int32, -1 = none.

    The views then hold the map, and their rows the ids, under the same name.

    Args:
        dataset: an image data set, or its config ``dict(type=..., ...)``.
        store: folder of the segment store.
        method: settings that the store must have been built with, e.g.
            ``dict(type="Slic", segments=150)``; those left out may be any. None = whatever it has.
        check: "content" = each image is compared with the one that was segmented; "shape" = only
            its size, for stores that move between machines whose JPEG decoders differ.
        levels: also carry the tree: ``maps["region/0"]`` is its coarsest level.
        foreground: also carry ``maps["foreground"]``: 1 where the region's foreground score is
            above this number, 0 elsewhere. None = no such map.

    Raises:
        UsageError: no such store, one of other settings, one without a tree or scores where they
            are asked for, or one that lacks an image of the data set.
    """

    def __init__(
        self,
        dataset: Any,
        store: str | Path,
        method: Mapping[str, Any] | None = None,
        check: str = "content",
        levels: bool = False,
        foreground: float | None = None,
    ) -> None:
        if check not in ("content", "shape"):
            raise UsageError(f"data.check={check!r}", needed='"content" or "shape"')
        self.dataset = build_dataset(dataset)
        self.store = SegmentStore.open(store, method)
        self.check, self.levels, self.foreground = check, levels, foreground
        if self.store.kind != "image":
            raise UsageError(f"data.store={str(store)!r} holds segments of clouds, not of images")
        self._require_all()

    def __len__(self) -> int:
        return len(self.dataset)

    def __getattr__(self, name: str) -> Any:
        # classes, palette, skipped, ...: what the data set offers beyond its samples
        if name.startswith("__") or name == "dataset":
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def name(self, index: int) -> str:
        """Name of a sample."""
        return self.dataset.name(index)

    def fingerprint(self) -> str:
        """Hash of the data set and of the segmentation's settings."""
        key = repr((self.dataset.fingerprint(), self.store.key, self.levels, self.foreground))
        return blake2b(key.encode(), digest_size=16).hexdigest()

    def __getitem__(self, index: int) -> Sample:
        """A sample with the regions of its frames.

        Raises:
            EntryError: the store has none of it, or of another image under its name.
        """
        sample = self.dataset[index]
        frames = [
            self._segmented(frame, frame_name(sample.name, number))
            for number, frame in enumerate(sample.frames)
        ]
        return replace(sample, frames=tuple(frames))

    def _segmented(self, frame: Frame, name: str) -> Frame:
        source = digest(frame.image) if self.check == "content" else None
        segments = self.store.get(name, source)
        if segments.ids.shape != frame.image.shape[:2]:
            raise EntryError(
                f"{self.store.folder}: the segments of {name} are {segments.ids.shape}, "
                f"the image {frame.image.shape[:2]}",
                state="changed",
                fix=f"compute them again: {self.store.build_command()}",
            )
        maps = {**frame.maps, "region": segments.ids}
        if self.levels:
            paths = segments.paths()
            maps |= {f"region/{level}": paths[..., level] for level in range(paths.shape[-1])}
        if self.foreground is not None:
            above = segments.scores["foreground"] > self.foreground
            maps["foreground"] = np.append(above, False)[segments.ids].astype(np.int64)
        return replace(frame, maps=maps)

    def _require_all(self) -> None:
        """Stop before a run starts that would stop later."""
        for setting, needed in (
            ("levels", self.levels),
            ("foreground", self.foreground is not None),
        ):
            if needed and not self.store.method.get(setting):
                raise UsageError(
                    f"data.{setting} is set, but the store {self.store.folder} has none",
                    fix=f"build one: {self.store.build_command('NEW')} --set {setting}=...",
                )
        pictures = Pictures(self.dataset)
        names = [pictures.name(index) for index in range(len(pictures))]
        lacking = set(self.store.missing(names))
        for index, name in enumerate(names):
            # a data set that skips unreadable files gives the next sample: that one must be there
            if name in lacking and pictures.read(index)[0] in lacking:
                raise EntryError(
                    f"the store {self.store.folder} lacks {len(lacking)} of {len(names)} images, "
                    f"the first is {name}",
                    fix=f"build them: {self.store.build_command()}",
                )


def build_dataset(config: Any) -> Any:
    """A data set as it is, or built from its config.

    Raises:
        UsageError: no such type.
    """
    if not isinstance(config, Mapping):
        return config
    settings = dict(config)
    kind = settings.pop("type", None)
    DATASETS.import_from_location()
    cls = DATASETS.module_dict.get(kind)
    if cls is None:
        raise UsageError(
            f"data.dataset has type {kind!r}",
            needed="one of " + ", ".join(sorted(DATASETS.module_dict)),
        )
    return cls(**settings)
