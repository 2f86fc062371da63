"""The EMA teacher: a copy of the online network that follows it slowly."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from densecl.memory.schedules import constant


class EMA(nn.Module):
    """A teacher whose parameters are a moving average of the online ones.

    Attributes:
        teacher: the copy; its parameters never require gradient. It follows ``train()`` like any
            submodule, so its batch norms use batch statistics while training, as in MoCo.
        step: () int64 buffer, the schedule position of the last update. It lives in the
            checkpoint, so that a resumed run continues the momentum schedule where it stopped.

    Args:
        online: the network to follow; copied, not kept.
        momentum: share of the old teacher kept at an update: a number, or a function of the step
            such as a ``Schedule``.
        buffers: "keep" = the teacher's batch-norm statistics are its own (MoCo, PixPro, BYOL
            reference code), "copy" = taken from the online network at each update.

    Raises:
        ValueError: unknown ``buffers``, or parameters in half precision, where a step of
            1 - momentum = 0.001 rounds to nothing.

    Source: He et al. 2020, eq. 2.
    """

    step: Tensor

    def __init__(
        self,
        online: nn.Module,
        momentum: float | Callable[[int], float] = 0.999,
        *,
        buffers: str = "keep",
    ) -> None:
        super().__init__()
        if buffers not in ("keep", "copy"):
            raise ValueError(f'buffers is {buffers!r}, needs "keep" or "copy"')
        if any(p.dtype in (torch.float16, torch.bfloat16) for p in online.parameters()):
            raise ValueError("a teacher in half precision would not move; keep float32 parameters")
        self.teacher = copy.deepcopy(online).requires_grad_(False)
        self.schedule = momentum if callable(momentum) else constant(float(momentum))
        self.buffers_policy = buffers
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    @property
    def momentum(self) -> float:
        """The momentum at the stored step."""
        return self.schedule(int(self.step))

    @torch.no_grad()
    def update(self, online: nn.Module, step: int | None = None) -> float:
        """Move the teacher towards ``online``: ``t <- m t + (1 - m) o`` with m = schedule(step).

        Args:
            online: the network that was copied.
            step: position in the schedule; None = one more than the stored one.

        Returns:
            The momentum used.

        Raises:
            ValueError: parameter or buffer names or shapes differ.
        """
        self.step.fill_(int(self.step) + 1 if step is None else step)
        momentum = self.momentum
        for mine, theirs in _matched(self.teacher, online, "parameter"):
            mine.lerp_(theirs.to(mine.dtype), 1.0 - momentum)
        if self.buffers_policy == "copy":
            for mine, theirs in _matched(self.teacher, online, "buffer"):
                mine.copy_(theirs)
        return momentum

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The teacher's output, without gradient."""
        with torch.no_grad():
            return self.teacher(*args, **kwargs)


def _matched(teacher: nn.Module, online: nn.Module, kind: str) -> list[tuple[Tensor, Tensor]]:
    """(teacher, online) tensors by name; raises where the two networks differ."""
    mine, theirs = (
        dict(m.named_parameters() if kind == "parameter" else m.named_buffers())
        for m in (teacher, online)
    )
    if mine.keys() != theirs.keys():
        odd = sorted(mine.keys() ^ theirs.keys())
        raise ValueError(f"teacher and online differ in {len(odd)} {kind}s, first {odd[0]!r}")
    for name, tensor in mine.items():
        if tensor.shape != theirs[name].shape:
            raise ValueError(
                f"{kind} {name!r}: teacher {(*tensor.shape,)}, online {(*theirs[name].shape,)}"
            )
    return [(tensor, theirs[name]) for name, tensor in mine.items()]
