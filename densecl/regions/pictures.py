"""The frames of an image data set as inputs of a segment store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from densecl.data.views import SampleSource


def frame_name(sample: str, frame: int) -> str:
    """Name of a frame in a store: the sample's, and its number in clips behind the first."""
    return sample if frame == 0 else f"{sample}@{frame}"


class Pictures:
    """Every frame of every sample; a source for ``build``.

    Args:
        dataset: yields samples, all of as many frames as the first.
        clip_length: frames of a sample; None = look at the first.
    """

    def __init__(self, dataset: SampleSource, clip_length: int | None = None) -> None:
        self.dataset = dataset
        self.clip_length = clip_length or (len(dataset[0].frames) if len(dataset) else 1)

    def __len__(self) -> int:
        return len(self.dataset) * self.clip_length

    def name(self, index: int) -> str:
        """Name of a frame."""
        sample, frame = divmod(index, self.clip_length)
        return frame_name(self.dataset.name(sample), frame)

    def read(self, index: int) -> tuple[str, np.ndarray]:
        """Name of the frame that was read, and its (H, W, 3) pixels."""
        number, frame = divmod(index, self.clip_length)
        sample = self.dataset[number]
        return frame_name(sample.name, frame), sample.frames[frame].image
