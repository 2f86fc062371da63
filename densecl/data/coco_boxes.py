"""COCO's layout: images listed by a JSON file, with the boxes of their objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from densecl.data.base import require_file, require_folder
from densecl.data.boxes import BoxDataset, BoxRow, BoxTable, check_degenerate, clip_box
from densecl.data.coco import read_coco
from densecl.data.names import Names
from densecl.errors import UsageError
from densecl.registry import DATASETS


@DATASETS.register_module()
class CocoBoxes(BoxDataset):
    """The images of a COCO annotation file and their boxes, by ascending id.

    COCO's (x, y, width, height) are edges already. Boxes are cut at the image's border where the
    file gives its size. ``iscrowd`` makes a crowd, ``ignore`` an ignored object.

    Args:
        root: folder of the images.
        annotation: JSON file with ``images``, ``annotations`` and ``categories``.
        degenerate: what to do with a box without area: "raise" names them all, "drop" leaves them
            out and lists them in ``dropped``.
        on_error: what an unreadable image does, "raise" or "skip".

    Attributes:
        classes: category names in the order of their ids in the file.
        dropped: annotation, image and box of each that was left out.

    Raises:
        UsageError: missing folder or file, a file that is not COCO's, a degenerate box.
    """

    def __init__(
        self,
        root: str | Path,
        annotation: str | Path,
        degenerate: str = "raise",
        on_error: str = "raise",
    ) -> None:
        folder = require_folder(root, "data.root")
        self.annotation = require_file(annotation, "data.annotation")
        content = read_coco(self.annotation)
        images = sorted(content.get("images") or [], key=lambda image: image["id"])
        categories = sorted(content.get("categories") or [], key=lambda item: item["id"])
        if not images or not categories or "annotations" not in content:
            raise UsageError(
                f"{self.annotation} lacks images, annotations or categories",
                needed="a COCO file of objects, an instances_*.json",
            )
        rows, self.dropped = _rows(content["annotations"], images, categories)
        check_degenerate(self.dropped, self.annotation, degenerate)
        names = Names.of(image["file_name"] for image in images)
        classes = [item["name"] for item in categories]
        super().__init__(folder, names, names, BoxTable.of(rows), classes, on_error)


def _rows(
    annotations: list[dict[str, Any]], images: list[dict[str, Any]], categories: list[Any]
) -> tuple[list[list[BoxRow]], list[str]]:
    label = {item["id"]: index for index, item in enumerate(categories)}
    place = {image["id"]: index for index, image in enumerate(images)}
    rows: list[list[BoxRow]] = [[] for _ in images]
    bad = []
    for item in annotations:
        if item["image_id"] not in place or "bbox" not in item:
            continue
        index = place[item["image_id"]]
        image = images[index]
        x, y, width, height = item["bbox"]
        limit = (image.get("width", float("inf")), image.get("height", float("inf")))
        box = clip_box((x, y, x + width, y + height), *limit)
        if box[2] <= box[0] or box[3] <= box[1]:
            bad.append(f"annotation {item.get('id')} of {image['file_name']}: bbox {item['bbox']}")
            continue
        crowd, ignore = bool(item.get("iscrowd")), bool(item.get("ignore"))
        rows[index].append(
            BoxRow(box, label[item["category_id"]], ignore or crowd, crowd, item.get("area"))
        )
    return rows, bad
