"""Images with objects, as prompting reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from densecl.data.davis import BACKGROUND, VOID
from densecl.diagnostics.segmentation_metrics import IGNORE
from densecl.errors import UsageError
from densecl.transfer.propagation.video import resize_frame
from densecl.transfer.selection import Selection


@dataclass(frozen=True)
class Scene:
    """One image.

    Attributes:
        image: (H, W, 3) uint8 RGB, as the backbone sees it.
        ids: (H0, W0) int32 object ids at the size of the labels; -1 no object, -2 void.
        labels: object id -> class id, where there are classes.
    """

    image: np.ndarray
    ids: np.ndarray
    labels: dict[int, int]

    @property
    def objects(self) -> list[int]:
        """Ids that occur, ascending."""
        return [int(i) for i in np.unique(self.ids) if i not in (BACKGROUND, VOID)]


class Scenes(Selection[Scene]):
    """The images of a data set at the indices given.

    Args:
        dataset: yields samples whose first frame has ``maps["instance"]``.
        indices, cache_bytes: see ``Selection``.
        void: pixels that ``maps["label"]`` ignores do not count. False where the labels are those
            of objects alone, as COCO's, and 255 stands for all that is none.
        resize: (H, W) that images are resized to, or None. Objects keep their own size.

    Raises:
        UsageError: the selection is empty.
    """

    what = "image"

    def __init__(
        self,
        dataset: Any,
        indices: Sequence[int] | None = None,
        *,
        resize: tuple[int, int] | None = None,
        void: bool = True,
        cache_bytes: int = 1 << 30,
    ) -> None:
        super().__init__(dataset, indices, cache_bytes)
        self.resize, self.void = resize, void

    def read(self, index: int) -> Scene:
        """One image.

        Raises:
            UsageError: it carries no object ids.
        """
        sample = self.dataset[index]
        frame = sample.frames[0]
        if "instance" not in frame.maps:
            raise UsageError(
                f"{sample.name} carries no object ids",
                needed='a data set whose frames hold maps["instance"]',
                fix="use a data set with objects, such as Streets, Davis or CocoImages with masks",
            )
        ids = frame.maps["instance"].astype(np.int32)
        labels: dict[int, int] = {}
        if "label" in frame.maps:
            label = frame.maps["label"]
            if self.void:
                ids = np.where(label == IGNORE, VOID, ids).astype(np.int32)
            for number in np.unique(ids[ids >= 0]).tolist():
                labels[number] = int(np.bincount(label[ids == number].astype(np.int64)).argmax())
        size = self.resize or frame.image.shape[:2]
        return Scene(np.ascontiguousarray(resize_frame(frame.image, size)), ids, labels)

    def size_of(self, item: Scene) -> int:
        """Bytes of image and ids."""
        return item.image.nbytes + item.ids.nbytes
