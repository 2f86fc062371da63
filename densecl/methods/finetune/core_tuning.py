"""Core-tuning, the pieces: hard pairs, mixtures, focal contrast; per pixel, for segmentation.

Source: Zhang et al. 2021, "Unleashing the Power of Contrastive Self-Supervised Visual Models via
Contrast-Regularized Fine-Tuning", section 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from densecl.losses.numerics import NEGATIVE_INFINITY, full_precision, normalise, promote
from densecl.pairs.ragged import rank_in_run

WHOLE = 1 - 1e-6
"""An overlap above this is of one and the same class: float32 shares of a mixture round."""


def sample_pixels(
    labels: Tensor, draw: np.random.Generator, *, pixels: int, rows: int, ignore: int = 255
) -> Tensor:
    """As many cells of every class of every picture, at most ``pixels`` each.

    Args:
        labels: (B, h, w) int64 class ids in [0, L) or ``ignore``.
        draw: the only source of randomness.
        pixels: most cells of a class in a picture.
        rows: most cells in all; beyond it the classes are cut evenly, the rare ones last.
        ignore: label that is never drawn.

    Returns:
        (N,) int64 cells b h w + i w + j, ascending.
    """
    flat = labels.flatten()
    per_picture = labels[0].numel() if len(labels) else 0
    known = (flat != ignore).nonzero().squeeze(1)
    order = torch.from_numpy(draw.permutation(len(known))).to(known.device)
    cells = known[order]
    classes = int(flat[cells].max()) + 1 if len(cells) else 1
    picture = torch.div(cells, max(per_picture, 1), rounding_mode="floor")
    cells = cells[_rank_within(picture * classes + flat[cells]) < pixels]
    if len(cells) > rows:
        cells = cells[torch.argsort(_rank_within(flat[cells]), stable=True)[:rows]]
    return cells.sort().values


def _rank_within(ids: Tensor) -> Tensor:
    """How many entries before each carry the same id, (n,) int64."""
    order = torch.argsort(ids, stable=True)
    rank = torch.empty_like(order)
    rank[order] = rank_in_run(ids[order])
    return rank


@dataclass(frozen=True)
class Partners:
    """The hardest partners of every row among the others.

    Attributes:
        positive: (N,) int64, the least similar row of the same class; itself where there is none.
        negative: (N,) int64, the most similar row of another class; itself where there is none.
        has_positive, has_negative: (N,) bool.
    """

    positive: Tensor
    negative: Tensor
    has_positive: Tensor
    has_negative: Tensor


@torch.no_grad()
def hard_partners(features: Tensor, labels: Tensor) -> Partners:
    """Find the hardest partners by cosine; of equals the first.

    Args:
        features: (N, C) float, normalised here.
        labels: (N,) int64.
    """
    with full_precision(features.device):
        unit = normalise(features)
        cosine = unit @ unit.T
    itself = torch.arange(len(labels), device=labels.device)
    same = labels[:, None] == labels
    others = same & (itself[:, None] != itself)
    if not len(labels):
        none = torch.zeros(0, dtype=torch.bool, device=labels.device)
        return Partners(itself, itself, none, none)
    # what is no candidate must lie beyond every cosine, on the side that is not searched
    positive = cosine.masked_fill(~others, torch.inf).argmin(dim=1)
    negative = cosine.masked_fill(same, NEGATIVE_INFINITY).argmax(dim=1)
    has_positive, has_negative = others.any(dim=1), (~same).any(dim=1)
    return Partners(
        torch.where(has_positive, positive, itself),
        torch.where(has_negative, negative, itself),
        has_positive,
        has_negative,
    )


def mixtures(
    features: Tensor,
    targets: Tensor,
    partners: Partners,
    alpha: float,
    draw: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """Rows with their hard negatives and hard positives; the gradient passes through all three.

    With the larger share ``s`` of a draw from Beta(alpha, alpha), a hard negative of row i is
    ``(1 - s) f_i + s f_n``, between the row and its most similar row of another class; a hard
    positive is ``s f_p + (1 - s) f_n``, the least similar row of its class moved towards the other
    class. Targets are mixed alike.

    Args:
        features: (N, C) float.
        targets: (N, L) float, shares of the classes.
        partners: from ``hard_partners``.
        alpha: >= 0; 0 mixes nothing in (s = 1).
        draw: the only source of randomness.

    Returns:
        (N + M, C) features and (N + M, L) targets: the rows themselves, the hard negatives of
        those that have one, the hard positives of those that have both.
    """
    count = len(features)
    shares = np.ones((2, count)) if alpha == 0 else draw.beta(alpha, alpha, (2, count))
    share = torch.from_numpy(np.maximum(shares, 1 - shares)).to(features)[..., None]
    own = torch.arange(count, device=features.device)[partners.has_negative]
    both = own[partners.has_positive[own]]
    far, near = partners.negative[own], partners.positive[both]
    between = partners.negative[both]

    def mix(rows: Tensor) -> Tensor:
        s_n, s_p = share[0, own].to(rows), share[1, both].to(rows)
        negatives = (1 - s_n) * rows[own] + s_n * rows[far]
        positives = s_p * rows[near] + (1 - s_p) * rows[between]
        return torch.cat([rows, negatives, positives])

    return mix(features), mix(targets)


def focal_contrast(
    rows: Tensor,
    targets: Tensor,
    *,
    temperature: float = 0.07,
    keys: Tensor | None = None,
    key_targets: Tensor | None = None,
) -> Tensor:
    """Supervised contrast that dwells on the pairs that are not yet alike.

    With ``p_ij`` the softmax of the cosines of row i with all other rows and the keys, and the
    overlap ``w_ij = y_i . y_j`` of the two targets, row i costs the mean of
    ``-(1 - p_ij) log p_ij`` over j weighted by ``w_ij``. Rows are averaged within each class, then
    the classes are averaged: a wide road counts no more than a pole.

    Args:
        rows: (N, D) float, unit rows; each is contrasted with all others.
        targets: (N, L) float, shares of the classes.
        temperature: > 0, divides the cosines.
        keys: (K, D) float, unit rows that are compared with but cost nothing themselves.
        key_targets: (K, L), with ``keys``.

    Returns:
        The loss. Rows without a row to agree with, or without one to differ from, cost nothing;
        without any other row a zero that still depends on ``rows``.

    Raises:
        ValueError: shapes disagree or temperature <= 0.

    Source: Zhang et al. 2021, section 3; the mean over positives is that of Khosla et al. 2020,
        eq. 2.
    """
    if rows.ndim != 2 or targets.ndim != 2 or len(rows) != len(targets):
        raise ValueError(f"rows {(*rows.shape,)} and targets {(*targets.shape,)}")
    if not temperature > 0:
        raise ValueError(f"temperature needs to be > 0, got {temperature}")
    with full_precision(rows.device):
        rows = promote(rows)
        columns, column_targets = rows, targets
        if keys is not None and key_targets is not None:
            columns = torch.cat([rows, promote(keys)])
            column_targets = torch.cat([targets, key_targets])
        if not len(rows) or len(columns) < 2:
            return rows.sum() * 0.0
        itself = torch.zeros(len(rows), len(columns), dtype=torch.bool, device=rows.device)
        itself.fill_diagonal_(True)
        overlap = (targets @ column_targets.T).to(rows)
        differs = overlap.masked_fill(itself, 1).amin(dim=1) < WHOLE
        overlap.masked_fill_(itself, 0)
        total = overlap.sum(dim=1)
        live = differs & (total > 0)
        if not bool(live.any()):
            return rows.sum() * 0.0
        score = ((rows @ columns.T) / temperature).masked_fill(itself, NEGATIVE_INFINITY)
        log_p = (score - score.logsumexp(dim=1, keepdim=True)).masked_fill(itself, 0)
        cost = (log_p.exp() - 1) * log_p
        per_row = (overlap * cost).sum(dim=1) / total.masked_fill(~live, 1)
        share = targets.to(rows) * live[:, None]
        mass = share.sum(dim=0)
        seen = mass > 0
        return ((share.T @ per_row)[seen] / mass[seen]).mean()


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy with shares of classes, averaged within each class, then over the classes.

    Args:
        logits: (N, L) float.
        targets: (N, L) float, shares that sum to 1.

    Returns:
        The loss; without rows a zero that still depends on ``logits``.
    """
    mass = targets.sum(dim=0)
    seen = mass > 0
    if not bool(seen.any()):
        return logits.sum() * 0.0
    cost = -(targets * promote(logits).log_softmax(dim=1)).sum(dim=1)
    return ((targets.T.to(cost) @ cost)[seen] / mass[seen]).mean()
