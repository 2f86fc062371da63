"""One optimiser step: micro-batches in, weights moved, numbers out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from densecl.distributed import world_size
from densecl.engine.model import PretrainModel
from densecl.engine.optim import set_lr
from densecl.engine.telemetry import Scalars
from densecl.pairs import Pairs


class NonFiniteLossError(RuntimeError):
    """The loss or the weights became NaN or infinite."""


@dataclass
class StepReport:
    """What one step tells the hooks.

    Attributes:
        step: number of this step, starting at 1.
        scalars: name -> number or 0-d tensor, means over micro-batches and processes; hooks add
            to it.
        samples: of this step, those of all processes.
        rows: loss features (N, D) of this process's last micro-batch, or None.
        pairs: positives of that micro-batch, or None.
        micro_samples: those of that micro-batch.
        sample: what a sample is called, "image" or "scan".
        looked_at: a hook added numbers worth logging whatever the logging interval.
    """

    step: int
    scalars: Scalars
    samples: int
    rows: Tensor | None = None
    pairs: Pairs | None = None
    micro_samples: int = 0
    sample: str = "image"
    looked_at: bool = False


def unwrap(model: nn.Module) -> PretrainModel:
    """The model inside a distributed wrapper, or the model itself."""
    inner = model.module if hasattr(model, "module") else model
    assert isinstance(inner, PretrainModel)
    return inner


def optimiser_step(
    model: nn.Module,
    optimizer: Optimizer,
    micro_batches: Sequence[Any],
    *,
    step: int,
    lr: float,
    amp: str = "off",
    grad_clip: float | None = None,
    average: Callable[[Scalars], Scalars] = lambda scalars: scalars,
) -> StepReport:
    """Average the loss over the micro-batches, step, and let the method follow.

    The weights are untouched if the loss is not finite: it is looked at before they move.

    Args:
        model: a ``PretrainModel``, possibly inside a distributed wrapper.
        optimizer: over its parameters.
        micro_batches: batches of the loader.
        step: number of this step, starting at 1.
        lr: rate of this step.
        amp: ``off`` or ``bf16`` (autocast of the forward pass; the weights stay float32).
        grad_clip: greatest norm of the whole gradient, or None.
        average: mean of the scalars over processes; its losses decide whether they are finite,
            so that all processes decide alike.

    Raises:
        NonFiniteLossError: naming the step and the loss terms.
    """
    inner = unwrap(model)
    device = inner.device
    count = len(micro_batches)
    model.train()
    set_lr(optimizer, lr)
    optimizer.zero_grad(set_to_none=True)
    sums: Scalars = {}
    for index, batch in enumerate(micro_batches):
        last = index == count - 1
        waits = nullcontext() if last or not hasattr(model, "no_sync") else model.no_sync()  # type: ignore[operator]
        with waits:
            with torch.autocast(device.type, torch.bfloat16, enabled=amp == "bf16"):
                output = model(batch)
            loss = torch.stack(list(output.losses.values())).sum()
            (loss / count).backward()
        named = {f"loss_{name}": value.detach() for name, value in output.losses.items()}
        for name, value in {"loss": loss.detach(), **named, **output.telemetry}.items():
            sums[name] = sums.get(name, 0.0) + value / count
    sums = average(sums)
    if not bool(torch.isfinite(torch.as_tensor(sums["loss"]))):
        terms = {name: float(value) for name, value in sums.items() if name.startswith("loss_")}
        raise NonFiniteLossError(f"the loss of step {step} is not finite: {terms}")
    if grad_clip is not None:
        trained = [p for p in model.parameters() if p.grad is not None]
        sums["grad_norm"] = torch.nn.utils.clip_grad_norm_(trained, grad_clip)
    optimizer.step()
    inner.method.after_step(step)
    sums["lr"] = lr
    return StepReport(
        step=step,
        scalars=sums,
        samples=sum(map(inner.batch_size, micro_batches)) * world_size(),
        rows=output.rows,
        pairs=output.pairs,
        micro_samples=inner.batch_size(micro_batches[-1]),
        sample=inner.sample,
    )
