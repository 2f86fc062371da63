"""Superpixels of the pictures of cameras: from a store, or computed once and kept."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from densecl.data.streets.cache import default_root
from densecl.errors import UsageError
from densecl.models.build import build_registered
from densecl.regions import EntryError, SegmentStore, digest
from densecl.regions.header import key_of, plain
from densecl.regions.image import ImageSegmentation
from densecl.registry import REGIONS
from pointcl.sensors.camera import Camera


class Superpixels:
    """Cuts the pictures of cameras into superpixels; each picture once, whoever asks first.

    Workers may share a store: an entry appears whole, and two of the same picture are equal.

    Args:
        method: config of a segmentation of images, e.g. ``dict(type="Slic", segments=150)``.
        store: folder of a segment store with an entry for each camera's ``key``, as
            ``densecl segments`` builds; what it lacks is computed and added. None = a folder of
            its own below ``$DENSECL_CACHE`` or ``~/.cache/densecl``; False = nothing is kept.

    Raises:
        UsageError: an unknown segmentation or setting, or a store of another one.
    """

    def __init__(self, method: Mapping[str, Any], store: str | Path | bool | None = None) -> None:
        if not isinstance(method, Mapping):
            raise UsageError(
                f"views.pictures.superpixels = {method!r}",
                needed="a dict, e.g. dict(type='Slic', segments=150)",
            )
        if store is True:
            raise UsageError("views.pictures.store = True", needed="a folder, None or False")
        self.compute = _build(method)
        self.own = store is None
        self.folder: Path | None = None
        if isinstance(store, (str, Path)):
            self.folder = Path(store).expanduser()
            if self.folder.exists():
                SegmentStore.open(self.folder, self.compute.describe())
        elif self.own:
            key = key_of("image", plain(self.compute.describe()))
            self.folder = default_root() / f"superpixels-{key[:16]}"

    @cached_property
    def store(self) -> SegmentStore | None:
        """Where they are kept; made when the first is asked for."""
        if self.folder is None:
            return None
        return SegmentStore.create(self.folder, kind="image", method=self.compute.describe())

    def __call__(self, camera: Camera, image: np.ndarray) -> np.ndarray:
        """(H, W) int ids of a camera's picture, 0 to R - 1; as many as the method found.

        Args:
            camera: whose ``key`` names the entry.
            image: (H, W, 3) uint8 RGB.

        Raises:
            UsageError: a picture without a key and a store that needs one.
        """
        if self.store is None:
            return self.compute(image).ids
        source = digest(image)
        if not self.own and not camera.key:
            raise UsageError(
                f"the picture of camera {camera.name} has no key to find its superpixels by",
                fix="leave views.pictures.store out: pictures are then known by their pixels",
            )
        # In a folder that several data sets share, a key alone may name several pictures.
        name = f"{camera.key}@{source}" if self.own else camera.key
        try:
            return self.store.get(name, source).ids
        except EntryError:
            pass  # missing, damaged, or of a picture that was replaced
        segments = self.compute(image)
        self.store.put(name, segments, source)
        return segments.ids


def _build(method: Mapping[str, Any]) -> ImageSegmentation:
    import densecl.regions  # noqa: F401  registers the segmentations of images

    segmentation: Any = build_registered(method, REGIONS)
    if not isinstance(segmentation, ImageSegmentation):
        raise UsageError(
            f"views.pictures.superpixels.type = {method['type']!r}",
            needed="a segmentation of images, e.g. 'Slic' or 'Felzenszwalb'",
        )
    return segmentation
