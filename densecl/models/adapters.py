"""Any ``nn.Module`` that returns maps, as a backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from densecl.errors import UsageError
from densecl.models.contract import Features
from densecl.models.frozen import frozen
from densecl.models.masking import hide

# A multiple of every usual total stride (up to 64) and of patch sizes 8 and 16.
PROBE_SIZE = 128


def split_output(output: object) -> tuple[list[Tensor], Tensor | None]:
    """Maps (4-D, in order) and the last class token (2-D) of whatever a module returned.

    Raises:
        UsageError: something else than tensors of these shapes, or no map at all.
    """
    maps: list[Tensor] = []
    token: Tensor | None = None
    pending = [output]
    while pending:
        item = pending.pop(0)
        if isinstance(item, Features):
            item = [item.maps, item.token]
        if isinstance(item, Mapping):
            item = list(item.values())
        if isinstance(item, Tensor) and item.ndim == 4:
            maps.append(item)
        elif isinstance(item, Tensor) and item.ndim == 2:
            token = item
        elif isinstance(item, (tuple, list)):
            pending = [*item, *pending]
        elif item is not None:
            found = tuple(item.shape) if isinstance(item, Tensor) else type(item).__name__
            raise UsageError(
                f"the backbone returned {found}",
                needed="maps (B, C, h, w), alone or in a tuple, list or dict; tokens (B, C)",
                fix="wrap it in a module whose forward reshapes its output into maps",
            )
    if not maps:
        raise UsageError("the backbone returned no map", needed="at least one (B, C, h, w)")
    return maps, token


class ModuleBackbone(nn.Module):
    """A backbone around a module that returns one map or a tuple, list or dict of them.

    Args:
        module: called with (B, 3, H, W); 2-D outputs (B, C) are taken as class token.
        strides: stride of each map in the order of the output. When not given, they are read
            off the answer to one blank image of 128 px; give them if 128 does not suit.

    Attributes:
        channels: stride -> channels; of maps with equal strides the later one.

    Raises:
        UsageError: the module returns no maps, or their strides are no integers.
    """

    def __init__(self, module: nn.Module, strides: Sequence[int] | None = None) -> None:
        super().__init__()
        self.net = module
        maps = self._probe()
        if strides is None:
            strides = [_stride(m) for m in maps]
        elif len(strides) != len(maps):
            raise UsageError(
                f"{len(strides)} strides {tuple(strides)}",
                needed=f"{len(maps)}, one for each map that the module returns",
            )
        self.strides = tuple(strides)
        self.channels = {s: m.shape[1] for s, m in zip(self.strides, maps, strict=True)}

    def _probe(self) -> list[Tensor]:
        weight = next(self.net.parameters(), torch.empty(0))
        blank = torch.zeros(1, 3, PROBE_SIZE, PROBE_SIZE, device=weight.device, dtype=weight.dtype)
        with frozen(self.net):
            return split_output(self.net(blank))[0]

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Features:
        """Features of x (B, 3, H, W); mask (B, H, W) bool, False becomes zero in the input."""
        maps, token = split_output(self.net(hide(x, mask)))
        return Features(maps=dict(zip(self.strides, maps, strict=True)), token=token)


def _stride(feature_map: Tensor) -> int:
    height, width = feature_map.shape[-2:]
    if height != width or PROBE_SIZE % height:
        raise UsageError(
            f"a {PROBE_SIZE} px image gave a map of {height} x {width} cells",
            needed="a map that divides the image evenly",
            fix="pass strides=(...) for the maps in the order of the output",
        )
    return PROBE_SIZE // height
