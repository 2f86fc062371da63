"""The backbone contract: what every method may ask of a 2D backbone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor


@dataclass
class Features:
    """What a backbone returns.

    Attributes:
        maps: stride -> (B, C, h, w). Where two stages share a stride (dilation), the deeper one.
        token: (B, C) class token, or None.
    """

    maps: dict[int, Tensor]
    token: Tensor | None = None

    def last(self) -> Tensor:
        """The map with the largest stride, (B, C, h, w)."""
        return self.maps[max(self.maps)]

    def pooled(self) -> Tensor:
        """The class token where there is one, else the mean of the last map: (B, C)."""
        return self.token if self.token is not None else self.last().mean(dim=(2, 3))


@runtime_checkable
class Backbone(Protocol):
    """A module with ``backbone(x (B, 3, H, W), mask=None) -> Features``.

    Attributes:
        channels: stride -> number of channels of the map at that stride.
    """

    channels: dict[int, int]

    def __call__(self, x: Tensor, mask: Tensor | None = None) -> Features:
        """Maps of (B, 3, H, W); ``mask`` (B, H, W) bool, True = visible."""
        ...
