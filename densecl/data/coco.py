"""COCO's layout: images listed by a JSON file, with or without their instance masks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from densecl.data.base import ImageDataset, fingerprint_files, require_file, require_folder
from densecl.data.decode import UnreadableFileError, read_rgb
from densecl.data.masks import decode_mask
from densecl.data.names import Names
from densecl.data.sample import Frame, Sample
from densecl.errors import UsageError
from densecl.registry import DATASETS

_IGNORE = 255


@DATASETS.register_module()
class CocoImages(ImageDataset):
    """The images of a COCO annotation file, by ascending id.

    Args:
        root: folder of the images.
        annotation: JSON file with ``images`` and, if maps are asked for, ``annotations`` and
            ``categories``.
        maps: any of "instance" (0, 1, ... per image in the file's order, -1 = none) and "label"
            (position of the category among the sorted category ids; 255 = no object). Where
            objects overlap the smaller one lies on top. Crowds are no instance and labelled 255.
        on_error: "raise" or "skip", see ``ImageDataset``.

    Attributes:
        classes: category names in the order of the label ids; empty without maps.

    Raises:
        UsageError: missing folder or file, a file that is not COCO's, unknown map names.
    """

    def __init__(
        self,
        root: str | Path,
        annotation: str | Path,
        maps: Sequence[str] = (),
        on_error: str = "raise",
    ) -> None:
        self.root = require_folder(root, "data.root")
        self.annotation = require_file(annotation, "data.annotation")
        self.maps = tuple(maps)
        if set(self.maps) - {"instance", "label"}:
            raise UsageError(f"data.maps={list(maps)!r}", needed='any of "instance" and "label"')
        content = read_coco(self.annotation)
        images = sorted(content.get("images") or [], key=lambda image: image["id"])
        if not images:
            raise UsageError(
                f"{self.annotation} lists no images", needed="a COCO file with `images`"
            )
        self._names = Names.of(image["file_name"] for image in images)
        self.classes: tuple[str, ...] = ()
        if self.maps:
            self._objects = self._group(content, [image["id"] for image in images])
        super().__init__(len(images), on_error)

    def name(self, index: int) -> str:
        """File name of an image."""
        return self._names[index]

    def load(self, index: int) -> Sample:
        """Read one image and paint its maps."""
        name = self._names[index]
        image = read_rgb(self.root / name)
        maps: dict[str, np.ndarray] = {}
        if self.maps:
            size = (image.shape[0], image.shape[1])
            try:
                painted = paint(json.loads(self._objects.raw(index)), size)
            except ValueError as error:
                raise UnreadableFileError(self.annotation, f"masks of {name}: {error}") from error
            maps = {key: painted[key] for key in self.maps}
        return Sample((Frame(image, maps),), source=index, name=name)

    def fingerprint(self) -> str:
        """Hash of the names, some file sizes, the maps and the annotation file's size."""
        settings = (self.maps, self.annotation.stat().st_size if self.maps else None)
        return fingerprint_files(self.root, self._names, settings)

    def _group(self, content: dict[str, Any], ids: list[int]) -> Names:
        """The objects of each image as JSON text: compact, and shared between workers."""
        categories = sorted(content.get("categories") or [], key=lambda item: item["id"])
        if "annotations" not in content or not categories:
            raise UsageError(
                f"{self.annotation} has no annotations or categories, needed for {self.maps}",
                fix="name an instances_*.json, or leave data.maps empty",
            )
        if "label" in self.maps and len(categories) > _IGNORE:
            raise UsageError(
                f"{self.annotation} has {len(categories)} categories",
                needed=f"at most {_IGNORE}, label {_IGNORE} means ignore",
                fix='use maps=("instance",)',
            )
        self.classes = tuple(item["name"] for item in categories)
        position = {item["id"]: index for index, item in enumerate(categories)}
        objects: dict[int, list[Any]] = {image: [] for image in ids}
        for item in content["annotations"]:
            if item["image_id"] in objects and item.get("segmentation"):
                label = _IGNORE if item.get("iscrowd") else position[item["category_id"]]
                entry = [label, bool(item.get("iscrowd")), item["segmentation"]]
                objects[item["image_id"]].append(entry)
        return Names.of(json.dumps(objects[image], separators=(",", ":")) for image in ids)


def paint(objects: list[Any], size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Instance and label map of one image.

    Args:
        objects: ``[label, is_crowd, segmentation]`` each.
        size: (H, W).

    Returns:
        ``instance`` (H, W) int32, -1 = none; ``label`` (H, W) int32, 255 = none or crowd.

    Raises:
        ValueError: a segmentation that cannot be decoded.
    """
    instance = np.full(size, -1, dtype=np.int32)
    label = np.full(size, _IGNORE, dtype=np.int32)
    masks = [decode_mask(segmentation, size) for _, _, segmentation in objects]
    number = np.cumsum([not crowd for _, crowd, _ in objects]) - 1
    # crowds first, then large to small: a crowd's rough outline must not hide an object
    areas = [int(mask.sum()) for mask in masks]
    for i in sorted(range(len(objects)), key=lambda i: (not objects[i][1], -areas[i], i)):
        instance[masks[i]] = -1 if objects[i][1] else number[i]
        label[masks[i]] = objects[i][0]
    return {"instance": instance, "label": label}


def read_coco(path: Path) -> dict[str, Any]:
    """The contents of a COCO file.

    Raises:
        UsageError: no JSON, or something else than an object in it.
    """
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise UsageError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path} holds a {type(content).__name__}", needed="a COCO JSON object")
    return content
