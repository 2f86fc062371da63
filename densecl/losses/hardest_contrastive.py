"""Hardest-contrastive: pull pairs within a margin, push each end's nearest stranger beyond one."""

from __future__ import annotations

import torch
from torch import Tensor

from densecl.losses.numerics import full_precision, promote
from densecl.losses.reduction import Reduced, reduce_rows
from densecl.pairs.keys import Rule

SMALL = 1e-7
"""Added to a squared distance before the root, whose slope at zero is infinite."""
TILE = {"cpu": 2**20, "cuda": 2**26}
"""Distances that are looked at together."""

Terms = tuple[Reduced, Reduced, Reduced]


def hardest_contrastive(
    query: Tensor,
    key: Tensor,
    key_candidates: Tensor,
    query_candidates: Tensor,
    *,
    positive_margin: float = 0.1,
    negative_margin: float = 1.4,
    allowed: tuple[Rule | None, Rule | None] = (None, None),
    known: tuple[Rule | None, Rule | None] = (None, None),
    reduction: str = "mean",
) -> Tensor | Terms:
    """Contrast every pair with the hardest candidate of either side.

    With d the distance of two rows and n(i) the candidate nearest to the pair's other end::

        mean_i relu(d(q_i, k_i)^2 - positive_margin)
        + 1/2 mean_i relu(negative_margin - d(q_i, n_k(i)))^2
        + 1/2 mean_i relu(negative_margin - d(k_i, n_q(i)))^2

    The positive margin acts on the squared distance, the negative one on the distance, as in the
    authors' code.

    Args:
        query: (P, D) float, unit rows.
        key: (P, D) float, ``key[i]`` is the positive of ``query[i]``.
        key_candidates: (T, D) rows of the key side among which the queries' hardest are found.
        query_candidates: (S, D) rows of the query side, for the keys.
        positive_margin: >= 0, of the squared distance.
        negative_margin: > 0, of the distance.
        allowed: for queries against key candidates and for keys against query candidates, a rule
            ``(pair rows, candidate rows) -> bool block``: False for candidates that are passed
            over, so that the next hardest counts.
        known: for both again, a rule that is False where the candidate is a listed positive of
            the pair's end. A pair whose hardest candidate is one drops out of that mean.
        reduction: "mean"; or "parts" -> three (sum, weight), the factors 1/2 inside the sums, for
            ranks that hold different numbers of pairs.

    Returns:
        The loss; without pairs a zero that still depends on ``query``. A pair without a candidate
        drops out of the mean over negatives.

    Raises:
        ValueError: shapes disagree, a margin out of range or an unknown reduction.

    Source: Choy et al. 2019, eq. 4; Xie et al. 2020 (PointContrast), section 4.2, and its code.
    """
    _check(query, key, key_candidates, query_candidates, positive_margin, negative_margin)
    if reduction not in ("mean", "parts"):
        raise ValueError(f'reduction is {reduction!r}, needs "mean" or "parts"')
    with full_precision(query.device):
        query, key = promote(query), promote(key)
        apart = (query - key).square().sum(1)
        terms = [reduce_rows((apart - positive_margin).relu(), len(query), reduction)]
        sides = ((query, key_candidates), (key, query_candidates))
        for side, (rows, candidates) in enumerate(sides):
            candidates = promote(candidates)
            hardest, pair = nearest_candidate(rows, candidates, allowed[side], known[side])
            gap = rows.index_select(0, pair) - candidates.index_select(0, hardest)
            distance = (gap.square().sum(1) + SMALL).sqrt()
            push = 0.5 * (negative_margin - distance).relu().square()
            terms.append(reduce_rows(push, len(pair), reduction))
        return torch.stack(terms).sum() if reduction == "mean" else tuple(terms)  # type: ignore[arg-type, return-value]


@torch.no_grad()
def nearest_candidate(
    rows: Tensor, candidates: Tensor, allowed: Rule | None, known: Rule | None
) -> tuple[Tensor, Tensor]:
    """The nearest candidate of each row, without a (P, K) matrix.

    Args:
        rows: (P, D).
        candidates: (K, D).
        allowed, known: see ``hardest_contrastive``.

    Returns:
        Candidates and rows, (H,) int64 each: the rows that have a nearest one that is not known.
    """
    count, device = len(candidates), rows.device
    none = torch.empty(0, dtype=torch.int64, device=device)
    if count == 0 or len(rows) == 0:
        return none, none
    ids = torch.arange(count, device=device)
    length = candidates.square().sum(1)
    found, owner = [none], [none]
    tile = max(1, TILE["cuda" if device.type == "cuda" else "cpu"] // count)
    for block in torch.arange(len(rows), device=device).split(tile):
        # Squared distance without the row's own length, which does not change the order.
        away = length - 2 * (rows[block] @ candidates.T)
        if allowed is not None:
            away = away.masked_fill(~allowed(block, ids), float("inf"))
        least, nearest = away.min(1)
        kept = least < float("inf")
        if known is not None:
            kept &= known(block, ids).gather(1, nearest.unsqueeze(1)).squeeze(1)
        found.append(nearest[kept])
        owner.append(block[kept])
    return torch.cat(found), torch.cat(owner)


def _check(
    query: Tensor,
    key: Tensor,
    key_candidates: Tensor,
    query_candidates: Tensor,
    positive_margin: float,
    negative_margin: float,
) -> None:
    if query.ndim != 2 or key.shape != query.shape:
        raise ValueError(
            f"query and key need one (P, D) shape, got {(*query.shape,)} and {(*key.shape,)}"
        )
    for name, rows in (
        ("key_candidates", key_candidates),
        ("query_candidates", query_candidates),
    ):
        if rows.ndim != 2 or rows.shape[1] != query.shape[1]:
            raise ValueError(f"{name} need shape (K, {query.shape[1]}), got {(*rows.shape,)}")
    if not positive_margin >= 0 or not negative_margin > 0:
        raise ValueError(f"margins {positive_margin} and {negative_margin}, need >= 0 and > 0")
