"""Gradient checkpointing that leaves batch-norm statistics as one forward would."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


@contextmanager
def scratch_buffers(module: nn.Module) -> Iterator[None]:
    """Inside, buffers are copies, so that whatever updates them is forgotten on exit.

    The copies are new tensors and not saved values written back: an in-place write would
    invalidate what autograd stored.
    """
    kept = [(m, name, b) for m in module.modules() for name, b in m._buffers.items()]
    for owner, name, buffer in kept:
        owner._buffers[name] = None if buffer is None else buffer.clone()
    try:
        yield
    finally:
        for owner, name, buffer in kept:
            owner._buffers[name] = buffer


def checkpoint_stage(stage: nn.Module, x: Tensor) -> Tensor:
    """``stage(x)``, recomputed in backward; running statistics are updated once, not twice."""

    def contexts() -> tuple[AbstractContextManager, AbstractContextManager]:
        return nullcontext(), scratch_buffers(stage)

    return checkpoint(stage, x, use_reentrant=False, context_fn=contexts)
