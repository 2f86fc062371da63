"""InfoNCE between pooled regions: each region of one side against all regions of the other."""

from __future__ import annotations

import torch
from torch import Tensor

from densecl.losses.info_nce import info_nce
from densecl.losses.numerics import (
    NEGATIVE_INFINITY,
    cross_entropy_of,
    full_precision,
    normalise,
    promote,
)
from densecl.losses.reduction import Reduced, reduce_rows
from densecl.pairs.checks import check_ids
from densecl.pairs.rules import not_same_region

BLOCK = 1024
"""Regions whose scores are held at a time where each score has a factor of its own."""


def region_info_nce(
    query: Tensor,
    key: Tensor,
    *,
    temperature: float = 0.07,
    own: Tensor | None = None,
    meaning: tuple[Tensor, Tensor] | None = None,
    reduction: str = "mean",
    block: int | str | None = "auto",
) -> Reduced:
    """Contrast each region's query with its own key against the keys of all other regions.

    ``-log( exp(q_i.k_i / t) / sum_j exp(w_ij q_i.k_j / t) )``, the sum over all keys, the own one
    included. w is 1, or with ``meaning`` 1 less the similarity of the two regions: what looks
    alike is pushed apart less (its logit is scaled down; at w = 0 it still counts as e^0).

    Pooled vectors need not be of unit length: the mean of unit vectors is shorter the less they
    agree, and SLidR leaves it so.

    Args:
        query: (R, D) float, one row per region.
        key: (K, D) float, rows of the other side; of several processes those of all.
        temperature: > 0, divides the scores.
        own: (R,) int64, the row of ``key`` of each region, distinct; None = row i, with K = R.
        meaning: ((R, F), (K, F)) float features of the same regions that do not learn; their
            cosine, cut off below 0, is the similarity.
        reduction: "none" -> (R,), "mean" or "sum" -> scalar, "parts" -> (sum, weight).
        block: size of the tiles of scores, see ``info_nce``; not used with ``meaning``.

    Returns:
        The loss. Without regions a zero that still depends on ``query`` and ``key``; a region
        alone has loss zero.

    Raises:
        ValueError: shapes disagree or temperature <= 0.

    Source: Sautier et al. 2022 (SLidR), eq. 3; Mahmoud et al. 2023 (ST-SLidR), eq. 5, for
    ``meaning``.
    """
    own = _check(query, key, own, meaning, temperature)
    if meaning is not None:
        return _tolerant(query, key, own, meaning, temperature, reduction)
    if not len(query):
        return reduce_rows(query.sum(1) + key.sum() * 0.0, 0.0, reduction)
    return info_nce(
        query,
        key.index_select(0, own),
        key,
        temperature=temperature,
        allowed=not_same_region(own, torch.arange(len(key), device=own.device)),
        reduction=reduction,
        block=block,
    )


def _tolerant(
    query: Tensor,
    key: Tensor,
    own: Tensor,
    meaning: tuple[Tensor, Tensor],
    temperature: float,
    reduction: str,
) -> Reduced:
    with full_precision(query.device):
        query, key = promote(query), promote(key)
        ours, theirs = (normalise(rows.detach()) for rows in meaning)
        values = [(query.sum(1) + key.sum() * 0.0)[:0]]
        for rows in range(0, len(query), BLOCK):
            part = slice(rows, rows + BLOCK)
            place = own[part].unsqueeze(1)
            score = query[part] @ key.T / temperature
            positive = score.gather(1, place).squeeze(1)
            weight = 1 - (ours[part] @ theirs.T).clamp_min(0.0)
            rest = (score * weight).scatter(1, place, NEGATIVE_INFINITY)
            if len(key) == 1:  # nothing but the own key: a log-sum of nothing passes no gradient
                rest = rest.detach()
            values.append(cross_entropy_of(positive, rest.logsumexp(1)))
        return reduce_rows(torch.cat(values), float(len(query)), reduction)


def _check(
    query: Tensor,
    key: Tensor,
    own: Tensor | None,
    meaning: tuple[Tensor, Tensor] | None,
    temperature: float,
) -> Tensor:
    if query.ndim != 2 or key.ndim != 2 or query.shape[1] != key.shape[1]:
        raise ValueError(f"needs (R, D) and (K, D) rows, got {(*query.shape,)} and {(*key.shape,)}")
    if own is None:
        if len(query) != len(key):
            raise ValueError(f"{len(query)} queries and {len(key)} keys: say whose is whose (own)")
        own = torch.arange(len(query), device=query.device)
    if own.shape != query.shape[:1]:
        raise ValueError(f"own {(*own.shape,)} for {len(query)} queries")
    check_ids("own", own, low=0, high=len(key), limit="number of keys")
    if meaning is not None and [len(rows) for rows in meaning] != [len(query), len(key)]:
        raise ValueError(
            f"meaning of {[len(rows) for rows in meaning]} rows for {len(query)} queries and "
            f"{len(key)} keys"
        )
    if not temperature > 0:
        raise ValueError(f"temperature needs to be > 0, got {temperature}")
    return own
