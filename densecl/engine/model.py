"""The module that is trained: a method behind what makes its batches ready."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from densecl.methods.base import Method, MethodOutput
from densecl.views.view import ViewBatch


class InputNorm(nn.Module):
    """uint8 images to normalised floats, on the device of its buffers.

    Args:
        mean, std: three numbers each on the 0 to 255 scale, in ``channel_order``.
        channel_order: ``RGB`` or ``BGR``: the order that the backbone is given.
        channels_last: memory format of the result.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        channel_order: str = "RGB",
        channels_last: bool = True,
    ) -> None:
        super().__init__()
        self.flip = channel_order == "BGR"
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        # Not persistent: a checkpoint carries them under "meta", next to the channel order.
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 RGB -> (B, 3, H, W) float32."""
        image = image.to(self.mean.device, non_blocking=True)
        image = image.flip(1) if self.flip else image
        return ((image.float() - self.mean) / self.std).contiguous(memory_format=self.format)


class PretrainModel(nn.Module):
    """A method behind what makes the loader's batches ready for it.

    Attributes:
        sample: what one sample of a batch is called, for logs.
    """

    sample = "sample"

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    @property
    def device(self) -> torch.device:
        """Where the method computes."""
        return next(self.method.parameters()).device

    def batch_size(self, batch: Any) -> int:
        """Samples of a batch."""
        raise NotImplementedError

    def prepare(self, batch: Any) -> Any:
        """The batch as the method takes it, on the model's device."""
        raise NotImplementedError

    def forward(self, batch: Any) -> MethodOutput:
        """Losses of a batch as it comes from the loader."""
        return self.method(self.prepare(batch))


class ImageModel(PretrainModel):
    """Pictures: normalised on the model's device."""

    sample = "image"

    def __init__(self, method: Method, norm: InputNorm, *, channels_last: bool = True) -> None:
        super().__init__(method)
        self.norm = norm
        if channels_last:
            self.method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def batch_size(self, batch: Sequence[ViewBatch]) -> int:
        """Images behind V view batches."""
        return len(batch[0])

    def prepare(self, batch: Sequence[ViewBatch]) -> list[ViewBatch]:
        """V view batches with normalised images."""
        moved = [view.to(self.norm.mean.device) for view in batch]
        return [replace(v, image=self.norm(v.image)) for v in moved]
