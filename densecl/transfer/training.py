"""The loop of fine-tuning, whatever the network and its batches are."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class Optimisation(Protocol):
    """How a network is trained; part of the settings of a run.

    Attributes:
        steps: length of the run.
        optimizer: ``sgd`` (momentum) or ``adamw``; no weight decay on norms and biases.
        lr, weight_decay, momentum: of the optimiser; ``head_lr`` multiplies the head's rate.
        schedule: ``poly`` (power 0.9) or ``cosine``, to zero after ``warmup`` linear steps.
        grad_clip: largest gradient norm, or None.
        curve_every: steps between points of the loss curve.
    """

    @property
    def steps(self) -> int: ...  # noqa: D102
    @property
    def optimizer(self) -> str: ...  # noqa: D102
    @property
    def lr(self) -> float: ...  # noqa: D102
    @property
    def head_lr(self) -> float: ...  # noqa: D102
    @property
    def weight_decay(self) -> float: ...  # noqa: D102
    @property
    def momentum(self) -> float: ...  # noqa: D102
    @property
    def schedule(self) -> str: ...  # noqa: D102
    @property
    def warmup(self) -> int: ...  # noqa: D102
    @property
    def grad_clip(self) -> float | None: ...  # noqa: D102
    @property
    def curve_every(self) -> int: ...  # noqa: D102


@dataclass
class FinetuneResult:
    """What one run yields.

    Attributes:
        miou: on the evaluation items, over the classes present there. 0.0 when diverged.
        iou: per class, NaN where absent from the truth.
        confusion: (L, L) as nested lists.
        curve: (step, training loss) points, each the mean since the last.
        seconds: wall time of training and of evaluation.
        feature_difference: largest difference between the features of the pretrained backbone
            and of the segmentor's at the start (see ``transplant``).
        diverged: the loss stopped being finite; training ended there.
    """

    miou: float
    iou: list[float]
    confusion: list[list[int]]
    curve: list[tuple[int, float]]
    seconds: dict[str, float]
    feature_difference: float
    diverged: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; NaN becomes None."""
        values = asdict(self)
        values["iou"] = [None if math.isnan(value) else value for value in self.iou]
        values["curve"] = plain_curve(self.curve)
        return values


def plain_curve(curve: list[tuple[int, float]]) -> list[tuple[int, float | None]]:
    """A loss curve for JSON: what is not finite, the end of a diverged run, becomes None."""
    return [(step, loss if math.isfinite(loss) else None) for step, loss in curve]


def learning_rate(spec: Optimisation, step: int) -> float:
    """Rate of ``step`` (from 0): linear warm-up, then poly or cosine to zero at ``spec.steps``."""
    if step < spec.warmup:
        return spec.lr * (step + 1) / (spec.warmup + 1)
    done = (step - spec.warmup) / max(1, spec.steps - spec.warmup)
    if spec.schedule == "poly":
        return spec.lr * (1 - done) ** 0.9
    return spec.lr * 0.5 * (1 + math.cos(math.pi * done))


def parameter_groups(network: nn.Module, spec: Optimisation) -> list[dict[str, Any]]:
    """Groups by (head or backbone) and (decayed or not), with the head's rate multiplier."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        key = (not name.startswith("backbone."), parameter.ndim > 1)
        groups.setdefault(key, []).append(parameter)
    return [
        {
            "params": parameters,
            "weight_decay": spec.weight_decay if decayed else 0.0,
            "multiplier": spec.head_lr if head else 1.0,
        }
        for (head, decayed), parameters in groups.items()
    ]


def make_optimizer(network: nn.Module, spec: Optimisation) -> torch.optim.Optimizer:
    """SGD or AdamW over ``parameter_groups``."""
    groups = parameter_groups(network, spec)
    if spec.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=spec.lr, momentum=spec.momentum)
    return torch.optim.AdamW(groups, lr=spec.lr)


def train_steps(
    network: nn.Module,
    spec: Optimisation,
    loss_of: Callable[[int], Tensor],
    on_step: Callable[[int, float], None] | None = None,
) -> tuple[list[tuple[int, float]], bool]:
    """Train a network, which is put into training mode.

    Args:
        network: its backbone is ``network.backbone``, all else is head.
        spec: the run.
        loss_of: the loss of a step's batch.
        on_step: called with (step, loss) after each step.

    Returns:
        The loss curve, and whether the loss stopped being finite; training ended there.
    """
    optimizer = make_optimizer(network, spec)
    network.train(True)
    curve: list[tuple[int, float]] = []
    since: list[float] = []
    for step in range(spec.steps):
        rate = learning_rate(spec, step)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["multiplier"]
        loss = loss_of(step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if spec.grad_clip is not None:
            nn.utils.clip_grad_norm_(network.parameters(), spec.grad_clip)
        optimizer.step()
        since.append(loss.item())
        if on_step is not None:
            on_step(step, since[-1])
        if not math.isfinite(since[-1]):
            return [*curve, (step + 1, since[-1])], True
        if (step + 1) % spec.curve_every == 0 or step + 1 == spec.steps:
            curve.append((step + 1, math.fsum(since) / len(since)))
            since = []
    return curve, False
