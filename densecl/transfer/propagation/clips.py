"""Videos with object masks, as propagation reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from densecl.data.davis import BACKGROUND, VOID
from densecl.errors import UsageError
from densecl.transfer.propagation.video import frame_size, resize_frame
from densecl.transfer.selection import Selection


@dataclass(frozen=True)
class Clip:
    """One video.

    Attributes:
        images: (T, H, W, 3) uint8 RGB, as the backbone sees them.
        ids: (T, H0, W0) int32 object ids at the size of the masks; -1 background, -2 void.
    """

    images: np.ndarray
    ids: np.ndarray

    def objects(self, min_pixels: int = 1, max_objects: int | None = None) -> tuple[int, ...]:
        """Ids of the first frame's objects that are large enough, ascending.

        Args:
            min_pixels: in the first mask.
            max_objects: keep the largest so many; of equal ones those of lower id.
        """
        ids, count = np.unique(self.ids[0], return_counts=True)
        large = [
            (-int(n), int(i))
            for i, n in zip(ids, count, strict=True)
            if i not in (BACKGROUND, VOID) and n >= min_pixels
        ]
        return tuple(sorted(number for _, number in sorted(large)[:max_objects]))

    @property
    def void(self) -> np.ndarray | None:
        """(T, H0, W0) bool, or None where every pixel counts."""
        hidden = self.ids == VOID
        return hidden if hidden.any() else None


class Clips(Selection[Clip]):
    """The videos of a data set at the indices given.

    Args:
        dataset: yields samples of 3 frames or more, each with ``maps["instance"]``.
        indices, cache_bytes: see ``Selection``.
        resize: (H, W) that frames are resized to; None = see ``short_side``.
        short_side, long_multiple: see ``frame_size``.

    Raises:
        UsageError: the selection is empty.
    """

    what = "video"

    def __init__(
        self,
        dataset: Any,
        indices: Sequence[int] | None = None,
        *,
        resize: tuple[int, int] | None = None,
        short_side: int | None = None,
        long_multiple: int = 1,
        cache_bytes: int = 1 << 30,
    ) -> None:
        super().__init__(dataset, indices, cache_bytes)
        self.resize, self.short_side, self.long_multiple = resize, short_side, long_multiple

    def read(self, index: int) -> Clip:
        """One video.

        Raises:
            UsageError: it has fewer than 3 frames, or one without a map of objects.
        """
        sample = self.dataset[index]
        if len(sample.frames) < 3:
            raise UsageError(
                f"{sample.name} has {len(sample.frames)} frames",
                needed="3 or more: the first is given and the last is not scored",
                fix="set data.clip_length, or leave the video out",
            )
        if any("instance" not in frame.maps for frame in sample.frames):
            raise UsageError(
                f"{sample.name} has a frame without object ids",
                needed='maps["instance"] in every frame',
                fix="use a data set of videos with masks, such as Davis or Streets",
            )
        own = sample.frames[0].image.shape[:2]
        size = self.resize or frame_size(own, self.short_side, self.long_multiple)
        return Clip(
            np.stack([resize_frame(frame.image, size) for frame in sample.frames]),
            np.stack([frame.maps["instance"].astype(np.int32) for frame in sample.frames]),
        )

    def size_of(self, item: Clip) -> int:
        """Bytes of frames and ids."""
        return item.images.nbytes + item.ids.nbytes
