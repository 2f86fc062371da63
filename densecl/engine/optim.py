"""Optimisers: parameter groups, batch scaling of the learning rate, construction."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from densecl.engine.lars import LARS


def scaled_lr(lr: float, batch: int, base_batch: int, scaling: str) -> float:
    """The learning rate for ``batch`` samples per optimiser step.

    Args:
        lr: rate meant for ``base_batch`` samples.
        batch: samples per optimiser step, over micro-batches and processes.
        base_batch: see ``lr``.
        scaling: ``linear``, ``sqrt`` or ``none``.

    Raises:
        ValueError: unknown ``scaling``.

    Source: Goyal et al. 2017 (linear); Krizhevsky 2014 (square root).
    """
    ratio = batch / base_batch
    factors = {"linear": ratio, "sqrt": math.sqrt(ratio), "none": 1.0}
    if scaling not in factors:
        raise ValueError(f"scaling is {scaling!r}, needs one of {sorted(factors)}")
    return lr * factors[scaling]


def parameter_groups(module: nn.Module, *, spare_1d: bool) -> list[dict[str, Any]]:
    """Trainable parameters in the order of their names.

    Args:
        module: what is trained; parameters without ``requires_grad`` are left out.
        spare_1d: give parameters of at most one dimension (biases, norm scales) a group of their
            own, with ``weight_decay=0`` and ``adapt=False``.

    Returns:
        One or two groups, never an empty one.
    """
    trained = [p for p in module.parameters() if p.requires_grad]
    if not spare_1d:
        return [{"params": trained}]
    wide = {"params": [p for p in trained if p.ndim > 1]}
    thin = {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0, "adapt": False}
    return [group for group in (wide, thin) if group["params"]]


def build_optimizer(module: nn.Module, cfg: Mapping[str, Any], lr: float) -> Optimizer:
    """Build SGD, LARS or AdamW over the trainable parameters of ``module``.

    SGD decays every parameter, as MoCo and DenseCL do; LARS and AdamW spare 1-D ones.

    Args:
        module: what is trained.
        cfg: the validated ``optim`` section.
        lr: the scaled learning rate.

    Raises:
        ValueError: unknown type.
    """
    kind, decay = cfg["type"], cfg["weight_decay"]
    groups = parameter_groups(module, spare_1d=kind != "SGD")
    if kind == "SGD":
        momentum, nesterov = cfg["momentum"], cfg["nesterov"]
        return torch.optim.SGD(
            groups,
            lr=lr,
            momentum=momentum,
            dampening=cfg.get("dampening", 0.0),
            weight_decay=decay,
            nesterov=nesterov,
        )
    if kind == "LARS":
        return LARS(
            groups,
            lr,
            momentum=cfg["momentum"],
            weight_decay=decay,
            trust=cfg["trust"],
            eps=cfg["eps"],
        )
    if kind == "AdamW":
        betas = (float(cfg["betas"][0]), float(cfg["betas"][1]))
        return torch.optim.AdamW(groups, lr=lr, betas=betas, eps=cfg["eps"], weight_decay=decay)
    raise ValueError(f"optimiser {kind!r}, needs SGD, LARS or AdamW")


def set_lr(optimizer: Optimizer, lr: float) -> None:
    """Give every group the rate of this step."""
    for group in optimizer.param_groups:
        group["lr"] = lr
