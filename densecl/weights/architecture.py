"""Read the architecture of a ResNet off the shapes of its weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from densecl.errors import UsageError
from densecl.models.resnet import LAYOUTS, Bottleneck


def infer_resnet(tensors: Mapping[str, Tensor], where: str) -> dict[str, Any]:
    """The ``dict(type="ResNet", ...)`` that these weights fit.

    Depth, width, stem and normalisation are read off; strides and dilations leave no trace in
    the weights and are left at their defaults.

    Args:
        tensors: in torchvision's names.
        where: the file, for messages.

    Raises:
        UsageError: a stage or the stem is missing, or no ResNet of ours has these blocks.
    """
    counts = []
    for stage in range(1, 5):
        blocks = {m[1] for name in tensors if (m := re.match(rf"layer{stage}\.(\d+)\.", name))}
        if not blocks:
            raise UsageError(
                f"{where}: stage layer{stage} is missing",
                needed="a ResNet with layer1 to layer4",
                fix="name the architecture with backbone=dict(type=...) if it is another one",
            )
        counts.append(len(blocks))
    bottleneck = any(re.match(r"layer1\.0\.conv3\.", name) for name in tensors)
    depth = next(
        (
            depth
            for depth, (block, wanted) in LAYOUTS.items()
            if list(wanted) == counts and (block is Bottleneck) == bottleneck
        ),
        None,
    )
    if depth is None:
        kind = "bottleneck" if bottleneck else "basic"
        raise UsageError(f"{where}: {counts} {kind} blocks", needed=f"ResNet {sorted(LAYOUTS)}")
    stem, stem_width = _stem(tensors, where)
    return {
        "type": "ResNet",
        "depth": depth,
        "width": int(tensors["layer1.0.conv1.weight"].shape[0]),
        "stem": stem,
        "stem_width": stem_width,
        "norm": "bn" if "layer1.0.bn1.running_mean" in tensors else "gn",
    }


def _stem(tensors: Mapping[str, Tensor], where: str) -> tuple[str, int]:
    if "conv1.weight" in tensors:
        width, _, kernel, _ = tensors["conv1.weight"].shape
        if kernel in (7, 3):
            return ("v1" if kernel == 7 else "small"), int(width)
        raise UsageError(f"{where}: a stem of kernel {kernel}", needed="7 (v1) or 3 (small)")
    if "stem.0.weight" in tensors and "stem.6.weight" in tensors:
        return "v1c", int(tensors["stem.6.weight"].shape[0])
    raise UsageError(f"{where}: no stem", needed="conv1.weight (v1, small) or stem.0/3/6 (v1c)")
