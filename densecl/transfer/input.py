"""From pictures to a network's input, as in pretraining."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from densecl.errors import UsageError


class ImageInput(Protocol):
    """What a run says of its input; see ``FinetuneSpec`` and ``DetectionSpec``."""

    @property
    def mean(self) -> tuple[float, float, float]:
        """On the 0-255 scale."""
        ...

    @property
    def std(self) -> tuple[float, float, float]:
        """On the 0-255 scale."""
        ...

    @property
    def channel_order(self) -> str:
        """Of the backbone's input; data are RGB."""
        ...

    @property
    def channels_last(self) -> bool:
        """Memory layout."""
        ...


def to_input(images: np.ndarray, spec: ImageInput, device: torch.device) -> Tensor:
    """(B, H, W, 3) uint8 RGB -> (B, 3, H, W) float32, normalised as in pretraining."""
    batch = torch.from_numpy(images).to(device).permute(0, 3, 1, 2)
    if spec.channel_order == "BGR":
        batch = batch.flip(1)
    mean = torch.tensor(spec.mean, device=device).view(1, 3, 1, 1)
    std = torch.tensor(spec.std, device=device).view(1, 3, 1, 1)
    batch = (batch.float() - mean) / std
    return batch.contiguous(
        memory_format=torch.channels_last if spec.channels_last else torch.contiguous_format
    )


def check_input(source: nn.Module, spec: ImageInput) -> None:
    """Refuse weights whose file says that they were trained on inputs normalised differently.

    Raises:
        UsageError: naming what differs.
    """
    wanted: dict[str, Any] = {
        "mean": spec.mean,
        "std": spec.std,
        "channel_order": spec.channel_order,
    }
    for name, ours in wanted.items():
        stated = getattr(source, name, None)
        if stated is None:
            continue
        same = stated == ours if isinstance(ours, str) else np.allclose(stated, ours, atol=1e-2)
        if not same:
            raise UsageError(
                f"the weights were pretrained with input {name} {stated}, the protocol has {ours}",
                needed="the input normalisation of pretraining",
                fix=f"set the protocol's {name} to {stated}",
            )
