"""LARS: momentum SGD whose step on each matrix is as long as the matrix asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class LARS(Optimizer):
    """Layer-wise adaptive rate scaling.

    With gradient g, weight w: ``d = g + weight_decay * w``,
    ``q = trust * |w| / (|d| + eps)`` (1 where either norm is zero),
    ``buffer = momentum * buffer + q * d``, ``w = w - lr * buffer``.

    Args:
        params: parameters or groups. A group with ``adapt=False`` has q = 1, that is plain
            momentum SGD; ``build_optimizer`` puts 1-D parameters there, without decay.
        lr: learning rate.
        momentum: of the buffer.
        weight_decay: added to the gradient before the norms are taken.
        trust: trust coefficient, eta in the paper.
        eps: added to the norm of d.

    Source: You et al. 2017, Algorithm 1; the zero-norm rule and the exemption of 1-D parameters
    as in the BYOL and SimCLR reference implementations.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 1e-3,
        eps: float = 1e-8,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "trust": trust,
            "eps": eps,
            "adapt": True,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, group)
        return loss

    def _update(self, weight: Tensor, group: dict[str, Any]) -> None:
        direction = weight.grad.add(weight, alpha=group["weight_decay"])  # type: ignore[union-attr]
        if group["adapt"]:
            weight_norm, norm = weight.norm(), direction.norm()
            ratio = group["trust"] * weight_norm / (norm + group["eps"])
            # torch.where keeps the decision on the device: no synchronisation per parameter.
            direction *= torch.where((weight_norm > 0) & (norm > 0), ratio, torch.ones_like(ratio))
        state = self.state[weight]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(weight)
        buffer = state["momentum_buffer"].mul_(group["momentum"]).add_(direction)
        weight.sub_(buffer, alpha=group["lr"])
