"""Any data set of mmsegmentation as samples with a label map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from densecl.data.base import ImageDataset
from densecl.data.decode import UnreadableFileError
from densecl.data.names import Names
from densecl.data.sample import Frame, Sample
from densecl.errors import UsageError
from densecl.registry import DATASETS


@DATASETS.register_module()
class MMSegDataset(ImageDataset):
    """Reads through mmsegmentation's own loaders, so labels mean what they mean there.

    Args:
        cfg: config of a data set of mmsegmentation (``type``, ``data_root``, ``data_prefix``,
            ...). Its ``pipeline`` is not used: augmentation is ours.
        labels: also read the label maps (``reduce_zero_label`` and class subsets applied).
        on_error: "raise" or "skip", see ``ImageDataset``.

    Attributes:
        classes: class names in the order of the label ids.

    Raises:
        UsageError: mmsegmentation is not installed, or it finds no images for the config.
    """

    def __init__(
        self, cfg: Mapping[str, Any], labels: bool = True, on_error: str = "raise"
    ) -> None:
        from densecl.models.mmseg import ensure_mmseg

        ensure_mmseg()
        from mmseg.registry import DATASETS as MMSEG_DATASETS

        pipeline: list[dict[str, Any]] = [{"type": "LoadImageFromFile"}]
        if labels:
            # mmcv has a transform of the same name that reads boxes
            pipeline.append({"type": "mmseg.LoadAnnotations"})
        config = {**dict(cfg), "pipeline": pipeline}
        try:
            self._inner = MMSEG_DATASETS.build(config)
        except (FileNotFoundError, KeyError, TypeError, ValueError, AssertionError) as error:
            # without a single image mmengine fails on joining nothing, with a ValueError
            raise UsageError(
                f"mmsegmentation cannot build {cfg.get('type')!r}: {error}",
                needed="a config that mmsegmentation accepts, and at least one image",
                fix="check data_root, data_prefix, ann_file and the suffixes in data.cfg",
            ) from error
        self.classes: tuple[str, ...] = tuple(self._inner.metainfo.get("classes") or ())
        self._labels = labels
        super().__init__(len(self._inner), on_error)

    def name(self, index: int) -> str:
        """Path of an image."""
        return str(self._inner.get_data_info(index)["img_path"])

    def load(self, index: int) -> Sample:
        """Read one image and its labels."""
        name = self.name(index)
        try:
            item = self._inner[index]
        except (OSError, ValueError, AttributeError, AssertionError) as error:
            # an image mmcv cannot decode fails its assertion, a label map pillow's own errors
            raise UnreadableFileError(name, f"mmsegmentation cannot read it ({error})") from error
        if item is None:
            raise UnreadableFileError(name, "mmsegmentation returned nothing")
        image = np.ascontiguousarray(item["img"][..., ::-1])
        maps = {"label": item["gt_seg_map"]} if self._labels else {}
        return Sample((Frame(image, maps),), source=index, name=name)

    def fingerprint(self) -> str:
        """Hash of the image paths and the classes."""
        paths = (self.name(index) for index in range(len(self)))
        return Names.of([*paths, *self.classes, str(self._labels)]).digest()
