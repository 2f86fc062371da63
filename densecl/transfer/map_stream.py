"""The feature maps of labelled pictures, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from densecl.errors import UsageError
from densecl.transfer.features import FrozenInput
from densecl.transfer.images import LabelledImages


class Mapped(NamedTuple):
    """A picture as a backbone sees it.

    Attributes:
        position: in the selection.
        features: (D, h, w) float32, not normalised.
        label: (H, W) class ids, at their own size.
    """

    position: int
    features: Tensor
    label: np.ndarray


def stream_maps(
    input: FrozenInput, backbone: nn.Module, images: LabelledImages
) -> Iterator[Mapped]:
    """Feature maps in the order of the selection; pictures of one size share a forward.

    Args:
        input: how the backbone is fed; at most ``input.batch`` pictures a forward.
        backbone: from ``input.open``.
        images: what is read.

    Raises:
        UsageError: features that are not finite.
    """
    waiting: list[tuple[int, np.ndarray, np.ndarray]] = []
    for position in range(len(images)):
        image, label = images[position]
        if waiting and (len(waiting) == input.batch or waiting[0][1].shape != image.shape):
            yield from _forward(input, backbone, waiting)
            waiting = []
        waiting.append((position, image, label))
    yield from _forward(input, backbone, waiting)


def _forward(
    input: FrozenInput, backbone: nn.Module, waiting: list[tuple[int, np.ndarray, np.ndarray]]
) -> Iterator[Mapped]:
    if not waiting:
        return
    maps = input.maps(backbone, np.stack([image for _, image, _ in waiting]))
    if not torch.isfinite(maps).all():
        raise UsageError(
            "features are not finite",
            needed="a backbone whose maps hold numbers",
            fix="check that the pretraining did not diverge",
        )
    for (position, _, label), features in zip(waiting, maps, strict=True):
        yield Mapped(position, features, label)
