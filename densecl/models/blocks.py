"""Residual blocks and the choice of their normalisation."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor, nn

from densecl.errors import UsageError

NormFactory = Callable[[int], nn.Module]


def group_count(stem_width: int) -> int:
    """Groups of every GroupNorm in a network: 32 where each group keeps two channels or more.

    One number for all layers, because mmseg's ``norm_cfg`` can only say one.
    """
    return math.gcd(32, stem_width // 2)


def norm_factory(norm: str | NormFactory, stem_width: int) -> NormFactory:
    """The function from channels to a normalisation module.

    Args:
        norm: "bn", "gn", "split" or such a function.
        stem_width: channels of the stem, which sets the number of groups.

    Raises:
        UsageError: unknown name.
    """
    if callable(norm):
        return norm
    if norm == "bn":
        return nn.BatchNorm2d
    if norm == "gn":
        groups = group_count(stem_width)
        return lambda channels: nn.GroupNorm(groups, channels)
    if norm == "split":
        from densecl.models.normalisation import SplitBatchNorm2d

        return SplitBatchNorm2d
    raise UsageError(f"norm={norm!r}", needed="'bn', 'gn', 'split' or a function of the channels")


def _projection(c_in: int, c_out: int, stride: int, make_norm: NormFactory) -> nn.Module | None:
    if stride == 1 and c_in == c_out:
        return None
    conv = nn.Conv2d(c_in, c_out, 1, stride, bias=False)
    return nn.Sequential(conv, make_norm(c_out))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut.

    Stride and dilation sit in the first convolution, as in mmseg; torchvision has no dilated
    basic block.
    """

    expansion = 1

    def __init__(
        self, c_in: int, planes: int, stride: int, dilation: int, make_norm: NormFactory
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, planes, 3, stride, dilation, dilation, bias=False)
        self.bn1 = make_norm(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = make_norm(planes)
        self.downsample = _projection(c_in, planes, stride, make_norm)

    def last_norm(self) -> nn.Module:
        """The normalisation that ends the residual branch."""
        return self.bn2

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, planes, h / stride, w / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)) + shortcut)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 and a shortcut; stride and dilation sit in the 3x3."""

    expansion = 4

    def __init__(
        self, c_in: int, planes: int, stride: int, dilation: int, make_norm: NormFactory
    ) -> None:
        super().__init__()
        c_out = planes * self.expansion
        self.conv1 = nn.Conv2d(c_in, planes, 1, bias=False)
        self.bn1 = make_norm(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, dilation, dilation, bias=False)
        self.bn2 = make_norm(planes)
        self.conv3 = nn.Conv2d(planes, c_out, 1, bias=False)
        self.bn3 = make_norm(c_out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _projection(c_in, c_out, stride, make_norm)

    def last_norm(self) -> nn.Module:
        """The normalisation that ends the residual branch."""
        return self.bn3

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, 4 planes, h / stride, w / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + shortcut)
