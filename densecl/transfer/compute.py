"""How much compute a pretraining spent, in the currency of fine-tuning steps.

Counted in floating-point operations of the forward passes, so that the count is the same on every
machine; a backward pass counts as two forwards, and a momentum teacher's forward as one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from densecl.models.build import build_backbone
from densecl.models.frozen import frozen

TRAIN, FORWARD = 3, 1


def forward_flops(module: nn.Module, size: tuple[int, int]) -> int:
    """Operations of one forward pass of one image (3, H, W); the module's modes are kept."""
    parameter = next(module.parameters())
    image = torch.zeros(1, 3, *size, dtype=parameter.dtype, device=parameter.device)
    with frozen(module), FlopCounterMode(display=False) as counter:
        module(image)
    return counter.get_total_flops()


def pretraining_flops(config: Mapping[str, Any], step: int) -> float:
    """Operations of ``step`` optimiser steps of a pretraining run, heads and losses left out.

    Args:
        config: the run's effective config.
        step: optimiser steps finished.
    """
    size = config["views"]["size"]
    views = config["views"].get("num_views", 2)
    hw = (size, size) if isinstance(size, int) else (size[0], size[1])
    backbone = build_backbone(config["method"]["backbone"])
    images = step * config["loader"]["batch_size"] * config["train"]["accumulate"]
    # One view trains the online branch, the others pass through the teacher.
    return images * (TRAIN + FORWARD * (views - 1)) * float(forward_flops(backbone, hw))
