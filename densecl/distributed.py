"""What several processes need; the identity where torch.distributed is not initialised."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def is_distributed() -> bool:
    """Whether a process group of more than one process is up."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def rank() -> int:
    """This process, 0 on its own."""
    return dist.get_rank() if is_distributed() else 0


def world_size() -> int:
    """Number of processes, 1 on its own."""
    return dist.get_world_size() if is_distributed() else 1


def all_reduce_sum(value: Tensor) -> Tensor:
    """Sum over ranks, detached; the same tensor on every rank."""
    value = value.detach().clone()
    if is_distributed():
        dist.all_reduce(value)
    return value


def mean_over_ranks(total: Tensor, weight: Tensor) -> Tensor:
    """The loss of this rank whose gradient, averaged over ranks, is that of one process.

    One process would minimise ``sum of totals / sum of weights``. DistributedDataParallel
    averages gradients, so each rank contributes ``total * world size / sum of weights``.

    Args:
        total: () this rank's sum, with gradient.
        weight: () this rank's weight; when all are zero the loss is zero.
    """
    mass = all_reduce_sum(weight)
    return total * world_size() / torch.where(mass > 0, mass, torch.ones_like(mass))


def row_counts(rows: Tensor) -> list[int]:
    """Number of rows of each rank, in rank order."""
    if not is_distributed():
        return [len(rows)]
    count = torch.tensor([len(rows)], device=rows.device)
    counts = [torch.zeros_like(count) for _ in range(world_size())]
    dist.all_gather(counts, count)
    return [int(c) for c in counts]


def gather_rows(rows: Tensor, *, gradient: bool = False) -> Tensor:
    """The rows of all ranks, in rank order; ranks may hold different numbers, also none.

    Args:
        rows: (N_r, ...) of this rank; trailing shape and dtype agree between ranks.
        gradient: whether gradient flows back, also to the rows of other ranks: a rank's rows
            then receive the sum of what every rank's loss asks of them.

    Returns:
        (sum of N_r, ...). This rank's rows start at ``sum(row_counts(rows)[:rank()])``.
    """
    if not gradient:
        rows = rows.detach()
    if not is_distributed():
        return rows
    gathered: Tensor = _Gather.apply(rows)
    return gathered


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        counts = row_counts(rows)
        ctx.counts = counts
        # Collectives want equal shapes; the fill is cut off again before anyone sees it.
        sent = rows.new_zeros((max(counts), *rows.shape[1:]))
        sent[: len(rows)] = rows
        received = [torch.empty_like(sent) for _ in counts]
        dist.all_gather(received, sent)
        return torch.cat([part[:n] for part, n in zip(received, counts, strict=True)])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        grad = grad.contiguous().clone()
        dist.all_reduce(grad)
        start = sum(ctx.counts[: rank()])
        return grad[start : start + ctx.counts[rank()]]
