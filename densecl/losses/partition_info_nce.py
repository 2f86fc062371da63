"""InfoNCE once per partition of space: each cell around a query has a sum of negatives of its own.

Not to be confused with ``losses.partition``, the log of one sum over all negatives.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from densecl.losses.numerics import NEGATIVE_INFINITY, cross_entropy_of, full_precision, promote
from densecl.losses.partition import TILE_SCORES
from densecl.losses.reduction import Reduced, reduce_rows


class Cells(Protocol):
    """Which cell around a query a key lies in, asked block by block.

    ``cells(query_rows (p,), key_rows (k,)) -> (p, k) int64``: 0 to P - 1, -1 = in none.
    """

    def __call__(self, query_rows: Tensor, key_rows: Tensor) -> Tensor:
        """(p,), (k,) rows -> (p, k) int64."""
        ...


def partition_info_nce(
    query: Tensor,
    key: Tensor,
    cells: Cells,
    num_cells: int,
    *,
    temperature: float = 0.4,
    cell_weight: Tensor | None = None,
    reduction: str = "mean",
    block: int | str | None = "auto",
) -> Reduced:
    """Contrast each query with its key, once against the other keys of each cell.

    ``1 / (n P) sum_i sum_p -w_p log(e^{s_ii} / (e^{s_ii} + sum_{j != i in cell p of i} e^{s_ij}))``
    with s = cosine / temperature. A cell without keys has loss zero and counts. The scores are
    formed once for all cells, a few rows at a time, and both gradients with them: memory holds
    neither n x n scores nor anything P times as large.

    Args:
        query: (n, D) float, unit rows, of one scene.
        key: (n, D) float, unit rows; key[i] is the positive of query[i] and, for the other
            queries, a negative of the cell it lies in.
        cells: see ``Cells``; what it says of a query and its own key does not matter.
        num_cells: P.
        temperature: > 0, divides the scores.
        cell_weight: (P,) float >= 0 factor of each cell's loss; the divisor stays n P. None = 1.
        reduction: "mean", "sum", "parts" -> (sum, n P), or "none" -> (n, P), which is formed by
            plain autograd from the whole matrix.
        block: "auto", so many rows at a time, or None for the whole matrix by plain autograd (the
            only form that can be differentiated twice). All give the same loss and gradient.

    Returns:
        The loss; with n = 0 a zero that still depends on ``query``.

    Raises:
        ValueError: shapes disagree, temperature <= 0, no cell, or an unknown option.

    Source: Hou et al. 2021 (CSC), equations 2 and 3.
    """
    _check(query, key, num_cells, temperature, cell_weight)
    with full_precision(query.device):
        query, key = promote(query), promote(key)
        weight = query.new_ones(num_cells) if cell_weight is None else cell_weight.to(query)
        if block is None or reduction == "none":
            values = _plain(query, key, cells, num_cells, temperature) * weight
            return reduce_rows(values, values.numel(), reduction)
        rows = _rows_at_once(block, len(query), query.device)
        track = torch.is_grad_enabled()
        total = _CellContrast.apply(query, key, cells, weight, temperature, rows, track)
        return reduce_rows(total, len(query) * num_cells, reduction)


def _plain(query: Tensor, key: Tensor, cells: Cells, num_cells: int, temperature: float) -> Tensor:
    n = len(query)
    scores = query @ key.T / temperature
    rows = torch.arange(n, device=query.device)
    cell = cells(rows, rows)
    other = ~torch.eye(n, dtype=torch.bool, device=query.device)
    sums = []
    for number in range(num_cells):
        inside = (cell == number) & other
        alone = ~inside.any(1, keepdim=True)
        # a row without negatives is scored as if it had some, then overwritten
        kept = scores.masked_fill(~(inside | alone), NEGATIVE_INFINITY)
        rest = torch.logsumexp(kept, 1) if n else scores.sum(1)
        sums.append(rest.masked_fill(alone.squeeze(1), NEGATIVE_INFINITY))
    positive = (query * key).sum(1, keepdim=True) / temperature
    return cross_entropy_of(positive, torch.stack(sums, 1))


def _rows_at_once(block: int | str, length: int, device: torch.device) -> int:
    if block == "auto":
        scores = TILE_SCORES["cuda" if device.type == "cuda" else "cpu"]
        return max(1, scores // max(length, 1))
    if isinstance(block, int) and block > 0:
        return block
    raise ValueError(f'block is {block!r}, needs None, "auto" or a positive int')


class _CellContrast(torch.autograd.Function):
    """The weighted sum of all losses; one factor from above, so gradients are formed at once."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        cells: Cells,
        weight: Tensor,
        temperature: float,
        rows_at_once: int,
        track: bool,
    ) -> Tensor:
        need_query = track and ctx.needs_input_grad[0]
        need_key = track and ctx.needs_input_grad[1]
        pull_query = torch.zeros_like(query) if need_query else None
        pull_key = torch.zeros_like(key) if need_key else None
        loss = query.new_zeros(())
        every = torch.arange(len(key), device=key.device)
        none = len(weight)
        for some in every.split(rows_at_once):
            scaled = query[some] / temperature
            scores = scaled @ key.T
            own = torch.arange(len(some), device=key.device), some
            positive = scores[own].unsqueeze(1)
            # keys in no cell share one more column, which nothing reads
            cell = cells(some, every)
            cell = torch.where(cell < 0, none, cell)
            cell[own] = none
            top = scores.new_full((len(some), none + 1), NEGATIVE_INFINITY)
            top = top.scatter_reduce_(1, cell, scores, "amax")
            top = top.masked_fill_(top == NEGATIVE_INFINITY, 0.0)
            exp = scores.sub_(top.gather(1, cell)).exp_()
            sums = torch.zeros_like(top).scatter_add_(1, cell, exp)
            rest = (sums.log() + top)[:, :none]
            loss = loss + (cross_entropy_of(positive, rest) * weight).sum()
            if pull_query is None and pull_key is None:
                continue
            slope = torch.sigmoid(rest - positive) * weight
            share = torch.zeros_like(sums)
            share[:, :none] = slope / sums[:, :none].clamp_min(1.0)
            force = exp.mul_(share.gather(1, cell))
            force[own] = -slope.sum(1)
            if pull_query is not None:
                pull_query[some] = force @ key / temperature
            if pull_key is not None:
                pull_key.addmm_(force.T, scaled)
        ctx.save_for_backward(pull_query, pull_key)
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        pulls = [None if pull is None else pull * grad for pull in ctx.saved_tensors]
        return (*pulls, None, None, None, None, None)


def _check(
    query: Tensor, key: Tensor, num_cells: int, temperature: float, cell_weight: Tensor | None
) -> None:
    if query.ndim != 2 or key.shape != query.shape:
        raise ValueError(
            f"query and key need one (n, D) shape, got {(*query.shape,)} and {(*key.shape,)}"
        )
    if not temperature > 0:
        raise ValueError(f"temperature needs to be > 0, got {temperature}")
    if num_cells < 1:
        raise ValueError(f"num_cells is {num_cells}, needs 1 or more")
    if cell_weight is not None and cell_weight.shape != (num_cells,):
        raise ValueError(f"cell_weight needs ({num_cells},), got {(*cell_weight.shape,)}")
