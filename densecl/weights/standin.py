"""torchvision's ResNet, written again from its description, to prove exports without it.

Shares no code with ``densecl.models``: a mistake there must show up as a difference here.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor

BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


def expected_shapes(depth: int) -> dict[str, tuple[int, ...]]:
    """Every entry of ``torchvision.models.resnet<depth>().state_dict()`` but ``fc``."""
    shapes: dict[str, tuple[int, ...]] = {}

    def conv(name: str, c_out: int, c_in: int, kernel: int) -> None:
        shapes[f"{name}.weight"] = (c_out, c_in, kernel, kernel)

    def norm(name: str, channels: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{part}"] = (channels,)
        shapes[f"{name}.num_batches_tracked"] = ()

    conv("conv1", 64, 3, 7)
    norm("bn1", 64)
    c_in = 64
    for stage, count in enumerate(BLOCKS[depth], start=1):
        planes = 64 << (stage - 1)
        c_out = planes if depth < 50 else 4 * planes
        for index in range(count):
            at = f"layer{stage}.{index}"
            kernels = (3, 3) if depth < 50 else (1, 3, 1)
            widths = (planes,) * (len(kernels) - 1) + (c_out,)
            before = c_in
            for number, (kernel, width) in enumerate(zip(kernels, widths, strict=True), start=1):
                conv(f"{at}.conv{number}", width, before, kernel)
                norm(f"{at}.bn{number}", width)
                before = width
            if index == 0 and (stage > 1 or c_out != c_in):
                conv(f"{at}.downsample.0", c_out, c_in, 1)
                norm(f"{at}.downsample.1", c_out)
            c_in = c_out
    return shapes


def forward(state: Mapping[str, Tensor], depth: int, x: Tensor) -> list[Tensor]:
    """The maps after layer1 to layer4 in evaluation mode, each (B, C, h, w).

    Args:
        state: in torchvision's names.
        depth: 18, 34, 50, 101 or 152.
        x: (B, 3, H, W).
    """

    def norm(name: str, x: Tensor) -> Tensor:
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        return F.batch_norm(x, mean, var, state[f"{name}.weight"], state[f"{name}.bias"])

    def conv_norm(at: str, number: int, x: Tensor, stride: int = 1) -> Tensor:
        weight = state[f"{at}.conv{number}.weight"]
        x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        return norm(f"{at}.bn{number}", x)

    x = norm("bn1", F.conv2d(x, state["conv1.weight"], stride=2, padding=3)).relu()
    x = F.max_pool2d(x, 3, stride=2, padding=1)
    maps = []
    for stage, count in enumerate(BLOCKS[depth], start=1):
        for index in range(count):
            at = f"layer{stage}.{index}"
            stride = 2 if stage > 1 and index == 0 else 1
            shortcut = x
            if f"{at}.downsample.0.weight" in state:
                shortcut = F.conv2d(x, state[f"{at}.downsample.0.weight"], stride=stride)
                shortcut = norm(f"{at}.downsample.1", shortcut)
            if depth < 50:
                x = conv_norm(at, 1, x, stride).relu()
                x = conv_norm(at, 2, x)
            else:
                x = conv_norm(at, 1, x).relu()
                x = conv_norm(at, 2, x, stride).relu()
                x = conv_norm(at, 3, x)
            x = (x + shortcut).relu()
        maps.append(x)
    return maps
