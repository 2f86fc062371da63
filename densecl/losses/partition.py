"""The log of the sum over negatives, streamed: the only large quantity in contrastive losses.

Every InfoNCE form needs, per query i, ``log sum_j exp(q_i . k_j / t)`` over the keys j that may
serve as its negatives. Here it is evaluated on tiles of the score matrix with a running maximum,
so that memory is one tile instead of (P, K), with gradients equal to those of the whole matrix:

- the gradient with respect to a query, ``sum_j softmax_ij k_j / t``, does not need the gradient
  from above, so it is formed in the forward pass, tile by tile;
- the gradient with respect to the keys does; their scores are recomputed in the backward pass,
  and only if the keys ask for a gradient (a queue does not). Whatever reduction follows, one code
  path serves it. The price is a fourth product where three would do for a mean: measured 1.4
  times the time of forming it forward, which in turn needs whole rows of scores at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from densecl.losses.numerics import NEGATIVE_INFINITY, full_precision
from densecl.pairs.keys import Rule

TILE_ROWS = {"cpu": 256, "cuda": 4096}
TILE_SCORES = {"cpu": 2**18, "cuda": 2**26}


def tile_shape(
    num_queries: int, block: int | str, device: torch.device | None = None
) -> tuple[int, int]:
    """Queries and keys of one tile.

    Args:
        num_queries: P.
        block: "auto" = a tile that stays in the processor's cache (256 x 1024 on CPU, wider for
            few queries), or an int b = b queries by 4 b keys.
        device: where the scores live; None = CPU.

    Raises:
        ValueError: ``block`` is neither.
    """
    if block == "auto":
        kind = "cuda" if device is not None and device.type == "cuda" else "cpu"
        rows = max(1, min(num_queries, TILE_ROWS[kind]))
        return rows, TILE_SCORES[kind] // rows
    if isinstance(block, int) and block > 0:
        return block, 4 * block
    raise ValueError(f'block is {block!r}, needs None, "auto" or a positive int')


def log_partition(
    query: Tensor,
    keys: Tensor,
    *,
    temperature: float,
    query_rows: Tensor,
    key_rows: Tensor,
    allowed: Rule | None = None,
    block: int | str | None = "auto",
) -> Tensor:
    """Per query, the log of the sum of exp(score) over its allowed keys.

    Args:
        query: (P, D) float32 or float64.
        keys: (K, D), same dtype.
        temperature: > 0, divides the scores.
        query_rows: (P,) int64, the ids under which ``allowed`` knows the queries.
        key_rows: (K,) int64, the ids under which ``allowed`` knows the keys.
        allowed: rule on ids, see ``densecl.pairs.keys.Rule``; None = every key is allowed.
        block: see ``tile_shape``; None evaluates the whole matrix by plain autograd.

    Returns:
        (P,), -inf for a query without any allowed key (it passes no gradient).
    """
    if block is None:
        return _plain(query, keys, temperature, query_rows, key_rows, allowed)
    tile = tile_shape(len(query), block, query.device)
    track = torch.is_grad_enabled()
    out: Tensor = _LogPartition.apply(
        query, keys, temperature, query_rows, key_rows, allowed, tile, track
    )
    return out


def _plain(
    query: Tensor,
    keys: Tensor,
    temperature: float,
    query_rows: Tensor,
    key_rows: Tensor,
    allowed: Rule | None,
) -> Tensor:
    scores = query @ keys.T / temperature
    if len(keys) == 0:
        return scores.sum(1) + NEGATIVE_INFINITY
    if allowed is None:
        return torch.logsumexp(scores, 1)
    may = allowed(query_rows, key_rows)
    # A row without negatives is scored as if it had some, then overwritten, so that its gradient
    # does not hang on what a log-sum-exp over nothing but -inf does.
    alone = ~may.any(1)
    scores = scores.masked_fill(~(may | alone[:, None]), NEGATIVE_INFINITY)
    return torch.logsumexp(scores, 1).masked_fill(alone, NEGATIVE_INFINITY)


def _chunks(length: int, size: int) -> Iterator[slice]:
    return (slice(at, min(at + size, length)) for at in range(0, length, size))


def _scores(
    query: Tensor, keys: Tensor, query_rows: Tensor, key_rows: Tensor, allowed: Rule | None
) -> Tensor:
    """One tile (b, k) of scores, -inf where not allowed; ``query`` is divided by t already."""
    scores = query @ keys.T
    if allowed is not None:
        scores.masked_fill_(~allowed(query_rows, key_rows), NEGATIVE_INFINITY)
    return scores


def _finite(shift: Tensor) -> Tensor:
    """What to subtract from scores: 0 where every score is -inf, so that none becomes NaN."""
    return shift.masked_fill(shift == NEGATIVE_INFINITY, 0.0)


class _LogPartition(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        keys: Tensor,
        temperature: float,
        query_rows: Tensor,
        key_rows: Tensor,
        allowed: Rule | None,
        tile: tuple[int, int],
        track: bool,
    ) -> Tensor:
        need_query = track and ctx.needs_input_grad[0]
        need_keys = track and ctx.needs_input_grad[1]
        out = query.new_empty(len(query))
        slope = torch.empty_like(query) if need_query else None
        for rows in _chunks(len(query), tile[0]):
            scaled = query[rows] / temperature
            top = scaled.new_full((len(scaled),), NEGATIVE_INFINITY)
            total = torch.zeros_like(top)
            mean = torch.zeros_like(scaled) if need_query else None
            for cols in _chunks(len(keys), tile[1]):
                scores = _scores(scaled, keys[cols], query_rows[rows], key_rows[cols], allowed)
                highest = torch.maximum(top, scores.amax(1))
                shift = _finite(highest)
                fade = (top - shift).exp_()
                exp = scores.sub_(shift[:, None]).exp_()
                total.mul_(fade).add_(exp.sum(1))
                if mean is not None:
                    mean.mul_(fade[:, None]).addmm_(exp, keys[cols])
                top = highest
            out[rows] = total.log() + _finite(top)
            if slope is not None and mean is not None:
                # The total is at least 1, the term of the maximum, or 0 without any key.
                slope[rows] = mean / (total.clamp_min(1.0) * temperature)[:, None]
        ctx.settings = (temperature, allowed, tile)
        recompute = (query, keys, query_rows, key_rows, out) if need_keys else (None,) * 5
        ctx.save_for_backward(slope, *recompute)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        slope, query, keys, query_rows, key_rows, out = ctx.saved_tensors
        temperature, allowed, tile = ctx.settings
        grad_query = None if slope is None else slope * grad[:, None]
        grad_keys = None
        if keys is not None:
            grad_keys = torch.zeros_like(keys)
            with full_precision(query.device):
                for rows in _chunks(len(query), tile[0]):
                    scaled = query[rows] / temperature
                    pull = scaled * grad[rows, None]
                    shift = _finite(out[rows])[:, None]
                    for cols in _chunks(len(keys), tile[1]):
                        scores = _scores(
                            scaled, keys[cols], query_rows[rows], key_rows[cols], allowed
                        )
                        grad_keys[cols].addmm_(scores.sub_(shift).exp_().T, pull)
        return grad_query, grad_keys, None, None, None, None, None, None
