"""From a video's first mask to masks of all its frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from densecl.transfer.propagation.affinity import Neighbourhood, carry_labels


@dataclass(frozen=True)
class Context:
    """Which frames label a frame, and how.

    Attributes:
        frames: how many frames before it, as far as there are.
        first: the first frame labels it too, even if it is among those: then it counts twice (VFS).
        first_twice: False counts it once (DINO).
        top_k, temperature, neighbourhood: see ``carry_labels``.
    """

    frames: int
    top_k: int
    temperature: float
    neighbourhood: Neighbourhood
    first: bool = True
    first_twice: bool = True


def propagate_video(
    features: Iterable[Tensor], first: Tensor, context: Context
) -> Iterator[Tensor]:
    """Soft labels of each frame after the first, from its features and earlier frames' labels.

    Labels are passed on soft: nothing is decided between frames.

    Args:
        features: (D, h, w) of each frame in order, the first included; any length of vector.
        first: (O, h, w) float labels of the first frame.
        context: see there.

    Yields:
        (O, h, w) of frame 1, 2, ... . Only the first frame and ``context.frames`` more are held.

    Raises:
        ValueError: the first frame's features and labels differ in size.
    """
    stream = iter(features)
    start = _rows(next(stream)), first.permute(1, 2, 0).contiguous()
    if start[0].shape[:2] != start[1].shape[:2]:
        raise ValueError(f"{tuple(start[0].shape[:2])} features, {tuple(first.shape[1:])} labels")
    earlier: deque[tuple[Tensor, Tensor]] = deque([start], maxlen=context.frames)
    for t, values in enumerate(stream, start=1):
        query = _rows(values)
        sources = list(earlier)
        if context.first and (context.first_twice or t > context.frames):
            sources.insert(0, start)
        keys, labels = (torch.stack(part) for part in zip(*sources, strict=True))
        found = carry_labels(
            query,
            keys,
            labels,
            top_k=context.top_k,
            temperature=context.temperature,
            neighbourhood=context.neighbourhood,
        )
        earlier.append((query, found))
        yield found.permute(2, 0, 1)


def _rows(features: Tensor) -> Tensor:
    """(D, h, w) -> (h, w, D) of unit length."""
    return functional.normalize(features.float(), dim=0).permute(1, 2, 0).contiguous()


def first_labels(ids: np.ndarray, objects: Sequence[int], size: tuple[int, int]) -> Tensor:
    """Labels of the first frame on the grid of its features: background and a channel an object.

    Args:
        ids: (H, W) object ids.
        objects: O ids; every other one is background.
        size: (h, w).

    Returns:
        (O + 1, h, w) float32 of zeros and ones, read at the pixel under each cell's centre. An
        object that lies under none has an empty channel and is never found again.
    """
    rows, columns = (
        ((np.arange(cells) + 0.5) * side / cells).astype(int)
        for side, cells in zip(ids.shape, size, strict=True)
    )
    small = ids[rows[:, None], columns]
    hot = np.stack([small == number for number in objects])
    return torch.from_numpy(np.concatenate([~hot.any(0, keepdims=True), hot]).astype(np.float32))


def to_masks(
    soft: Tensor, objects: Sequence[int], size: tuple[int, int], background: int
) -> np.ndarray:
    """Decide: the id of each pixel.

    Each channel, the background's too, is stretched to [0, 1] over its own picture before they are
    compared, which keeps faint objects; a channel without any weight stays at zero.

    Args:
        soft: (O + 1, h, w), the background first.
        objects: O ids.
        size: (H, W) of the masks.
        background: id of the background.

    Returns:
        (H, W) int32; where channels are equal the first, so the background before any object.

    Source: the reference code of VFS and DINO.
    """
    large = functional.interpolate(soft[None], size, mode="bilinear", align_corners=False)[0]
    low, high = large.amin((1, 2), keepdim=True), large.amax((1, 2), keepdim=True)
    # a channel that is the same positive number everywhere has nothing to stretch: it becomes 0
    large = torch.where(high > 0, (large - low) / (high - low + 1e-12), large)
    return np.array([background, *objects], np.int32)[large.argmax(0).cpu().numpy()]


def frame_size(
    size: tuple[int, int], short_side: int | None, long_multiple: int = 1
) -> tuple[int, int]:
    """(H, W) that frames of a given size are resized to.

    Args:
        size: (H, W) of the frames.
        short_side: length of the shorter side, the aspect kept; None = their own size.
        long_multiple: the longer side is rounded down to a multiple of this, to one at least.
    """
    scale = 1.0 if short_side is None else short_side / min(size)
    height, width = (max(1, round(side * scale)) for side in size)
    if long_multiple > 1:
        longer = max(height, width) // long_multiple * long_multiple
        longer = max(longer, long_multiple)
        return (longer, width) if height > width else (height, longer)
    return height, width


def resize_frame(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8 at another size: averaged where it shrinks, else bilinear."""
    if image.shape[:2] == size:
        return image
    shrinks = size[0] < image.shape[0] or size[1] < image.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(image, (size[1], size[0]), interpolation=how)
