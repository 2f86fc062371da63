"""How a frozen backbone is fed and read by measures that train nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from densecl.errors import UsageError
from densecl.models.frozen import frozen
from densecl.transfer.initialisation import Init, starting_backbone


@dataclass(frozen=True)
class FrozenInput:
    """A backbone, its input, and which of its maps are read.

    Attributes:
        backbone: config of the pretrained backbone.
        mean, std: input normalisation on the 0-255 scale.
        channel_order: of the backbone's input; data are RGB.
        strides: which maps, side by side; None = the deepest.
        grid: stride in pixels of the common grid; None = the finest of ``strides``.
        resize: (H, W) that every image is resized to first, or None; labels keep their own size.
        batch: images per forward.
    """

    backbone: Mapping[str, Any]
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    channel_order: Literal["RGB", "BGR"] = "RGB"
    strides: tuple[int, ...] | None = None
    grid: int | None = None
    resize: tuple[int, int] | None = None
    batch: int = 16

    def open(self, init: Init, seed: int, device: str | torch.device) -> nn.Module:
        """The backbone with starting weights (None = random, of the seed), in evaluation mode."""
        return starting_backbone(init, self.backbone, seed).to(device).eval()

    def maps(self, backbone: nn.Module, images: np.ndarray) -> Tensor:
        """Features of images.

        Args:
            backbone: from ``open``; its mode is kept.
            images: (B, H, W, 3) uint8 RGB, or (H, W, 3) of one image.

        Returns:
            (B, D, h, w) float32 on the backbone's device: maps resized bilinearly to the common
            grid and concatenated in the order of their strides. Not normalised.

        Raises:
            UsageError: the backbone has no map of one of ``strides``.
        """
        images = images[None] if images.ndim == 3 else images
        device = next((p.device for p in backbone.parameters()), torch.device("cpu"))
        x = torch.from_numpy(np.ascontiguousarray(images)).to(device).permute(0, 3, 1, 2)
        if self.channel_order == "BGR":
            x = x.flip(1)
        mean, std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (self.mean, self.std))
        x = (x.float() - mean) / std
        with frozen(backbone):
            maps = backbone(x).maps
        strides = sorted(maps)[-1:] if self.strides is None else self.strides
        for stride in strides:
            if stride not in maps:
                raise UsageError(
                    f"strides = {tuple(strides)}",
                    needed=f"strides that the backbone has: {sorted(maps)}",
                )
        if self.grid is None:
            size = maps[min(strides)].shape[-2:]
        else:
            size = torch.Size(-(-side // self.grid) for side in x.shape[-2:])
        resized = [
            maps[stride].float()
            if maps[stride].shape[-2:] == size
            else functional.interpolate(
                maps[stride].float(), tuple(size), mode="bilinear", align_corners=False
            )
            for stride in strides
        ]
        return torch.cat(resized, dim=1)
