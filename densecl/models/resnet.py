"""ResNet with torchvision's parameter names, a width multiplier and maps by stride."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from densecl.errors import UsageError
from densecl.models.blocks import BasicBlock, Bottleneck, NormFactory, norm_factory
from densecl.models.checkpointing import checkpoint_stage
from densecl.models.contract import Features
from densecl.models.masking import hide
from densecl.registry import BACKBONES

LAYOUTS: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


@BACKBONES.register_module()
class ResNet(nn.Module):
    """Residual network that returns one map per stride.

    Parameter names are torchvision's (``conv1``, ``bn1``, ``layer1.0.conv1``,
    ``downsample.0``); the v1c stem uses mmseg's ``stem.0`` ... ``stem.7``. A bottleneck strides
    in its 3x3 convolution ("pytorch" style). Every block of a dilated stage has the stage's
    dilation, as in mmseg; torchvision's ``replace_stride_with_dilation`` differs in the first
    block of the stage.

    Args:
        depth: 18, 34, 50, 101 or 152.
        width: channels of the first stage before expansion; 64 is the published network.
        stem: "v1" 7x7 stride 2 and max pooling (total stride 4); "v1c" three 3x3 and max pooling
            (total stride 4); "small" one 3x3 of stride 1 without pooling (total stride 1).
        strides: stride of each of the four stages.
        dilations: dilation of each of the four stages.
        norm: "bn", "gn" (statistics of one image, exact across processes), "split" (batch norm
            over parts of the batch), or a function from channels to a module.
        zero_init_residual: start each residual branch at zero.
        grad_checkpoint: recompute each stage in backward instead of storing it; same numbers.
        stem_width: channels of the stem; ``width`` when not given.

    Attributes:
        channels: stride -> channels. With the defaults strides 4, 8, 16, 32; where two stages
            share a stride, the deeper one.
        stage_strides, stage_channels: the same for all four stages in order.

    Source: He et al. 2016, table 1; v1c: He et al. 2019, figure 2b; GroupNorm: Wu & He 2018.
    """

    def __init__(
        self,
        depth: int = 50,
        width: int = 64,
        stem: Literal["v1", "v1c", "small"] = "v1",
        strides: Sequence[int] = (1, 2, 2, 2),
        dilations: Sequence[int] = (1, 1, 1, 1),
        norm: str | NormFactory = "bn",
        zero_init_residual: bool = False,
        grad_checkpoint: bool = False,
        stem_width: int | None = None,
    ) -> None:
        super().__init__()
        _check(depth, width, stem, strides, dilations)
        self.depth, self.width, self.stem_kind = depth, width, stem
        self.stem_width = stem_width or width
        self.strides, self.dilations = tuple(strides), tuple(dilations)
        self.norm = norm if isinstance(norm, str) else "custom"
        self.grad_checkpoint = grad_checkpoint
        make_norm = norm_factory(norm, self.stem_width)
        stride = self._build_stem(make_norm)
        block, counts = LAYOUTS[depth]
        channels = self.stem_width
        self.stage_strides: list[int] = []
        self.stage_channels: list[int] = []
        for stage, count in enumerate(counts):
            planes = width * 2**stage
            blocks: list[nn.Module] = []
            for index in range(count):
                step = strides[stage] if index == 0 else 1
                blocks.append(block(channels, planes, step, dilations[stage], make_norm))
                channels = planes * block.expansion
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
            stride *= strides[stage]
            self.stage_strides.append(stride)
            self.stage_channels.append(channels)
        self.channels = dict(zip(self.stage_strides, self.stage_channels, strict=True))
        self._init_weights(zero_init_residual)

    def _build_stem(self, make_norm: NormFactory) -> int:
        """Add the stem's modules and return its stride."""
        width = self.stem_width
        self.relu = nn.ReLU(inplace=True)
        if self.stem_kind == "v1c":
            half = width // 2
            layers: list[nn.Module] = []
            for c_in, c_out, stride in ((3, half, 2), (half, half, 1), (half, width, 1)):
                layers.append(nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False))
                layers += [make_norm(c_out), nn.ReLU(inplace=True)]
            self.stem = nn.Sequential(*layers)
        elif self.stem_kind == "v1":
            self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
            self.bn1 = make_norm(width)
        else:
            self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
            self.bn1 = make_norm(width)
            return 1
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        return 4

    def _init_weights(self, zero_init_residual: bool) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if zero_init_residual:
            for module in self.modules():
                if isinstance(module, (BasicBlock, Bottleneck)):
                    nn.init.zeros_(module.last_norm().get_parameter("weight"))

    def config(self) -> dict[str, object]:
        """The ``dict(type="ResNet", ...)`` that builds this architecture again."""
        return {
            "type": "ResNet",
            "depth": self.depth,
            "width": self.width,
            "stem": self.stem_kind,
            "strides": self.strides,
            "dilations": self.dilations,
            "norm": self.norm,
            "stem_width": self.stem_width,
        }

    def forward_stages(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """The maps of all four stages in order, each (B, C, h, w).

        Args:
            x: (B, 3, H, W) float, normalised.
            mask: (B, H, W) bool, True where the input may be seen; the rest becomes zero.
        """
        x = hide(x, mask)
        if self.stem_kind == "v1c":
            x = self.stem(x)
        else:
            x = self.relu(self.bn1(self.conv1(x)))
        if self.stem_kind != "small":
            x = self.maxpool(x)
        maps = []
        for name in ("layer1", "layer2", "layer3", "layer4"):
            stage = self.get_submodule(name)
            if self.grad_checkpoint and torch.is_grad_enabled():
                x = checkpoint_stage(stage, x)
            else:
                x = stage(x)
            maps.append(x)
        return tuple(maps)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Features:
        """Features of x (B, 3, H, W); arguments as in ``forward_stages``."""
        maps = self.forward_stages(x, mask)
        return Features(maps=dict(zip(self.stage_strides, maps, strict=True)))


def _check(
    depth: int, width: int, stem: str, strides: Sequence[int], dilations: Sequence[int]
) -> None:
    if depth not in LAYOUTS:
        raise UsageError(f"ResNet depth={depth!r}", needed=f"one of {sorted(LAYOUTS)}")
    if stem not in ("v1", "v1c", "small"):
        raise UsageError(f"ResNet stem={stem!r}", needed="'v1', 'v1c' or 'small'")
    if not isinstance(width, int) or width < 2 or width % 2:
        raise UsageError(f"ResNet width={width!r}", needed="an even integer; 64 is standard")
    for name, values in (("strides", strides), ("dilations", dilations)):
        if len(values) != 4 or any(not isinstance(v, int) or v < 1 for v in values):
            raise UsageError(f"ResNet {name}={values!r}", needed="four integers of at least 1")
