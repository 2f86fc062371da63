"""Pixel-to-propagation: every row becomes a similarity-weighted sum of its image's rows."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def propagate(
    features: Tensor,
    values: Tensor,
    *,
    gamma: float = 2.0,
    sample: Tensor | None = None,
    valid: Tensor | None = None,
) -> Tensor:
    """y_i = sum_j max(cos(x_i, x_j), 0)^gamma v_j over the rows j of the same sample, i included.

    The sum is not divided by anything: the loss normalises y.

    Args:
        features: x, maps (B, D, h, w) or rows (N, D).
        values: v = g(x), maps (B, E, h, w) or rows (N, E).
        gamma: > 0; sharpness. Towards infinity y_i becomes v_i. Below 1, 1e-6 is added to the
            clamped cosine, for the gradient at 0 is infinite otherwise.
        sample: (N,) int64, for rows.
        valid: (B, h, w) or (N,) bool; other rows j are not summed.

    Returns:
        y in float32, of the shape of ``values``.

    Raises:
        ValueError: shapes disagree or gamma <= 0.

    Source: Xie et al. 2021 (PixPro), eq. 3 and 4.
    """
    if gamma <= 0:
        raise ValueError(f"gamma must be positive, got {gamma}")
    fits = features.shape[0] == values.shape[0] and features.shape[2:] == values.shape[2:]
    if not fits or features.ndim not in (2, 4) or features.ndim != values.ndim:
        raise ValueError(
            f"features {tuple(features.shape)} and values {tuple(values.shape)} are no maps on one "
            "grid and no rows of one set"
        )
    with torch.autocast(features.device.type, enabled=False):
        if features.ndim == 4:
            weight = None if valid is None else valid.flatten(1)
            x, v = (t.float().flatten(2).transpose(1, 2) for t in (features, values))
            return _propagate(x, v, gamma, weight).transpose(1, 2).reshape(values.shape)
        if sample is None or sample.shape != features.shape[:1]:
            raise ValueError(f"rows {tuple(features.shape)} need sample ({features.shape[0]},)")
        out = torch.zeros_like(values, dtype=torch.float32)
        order = torch.argsort(sample, stable=True)
        for rows in order.split(torch.unique(sample, return_counts=True)[1].tolist()):
            x, v = features[rows].float().unsqueeze(0), values[rows].float().unsqueeze(0)
            weight = None if valid is None else valid[rows].unsqueeze(0)
            out = out.index_copy(0, rows, _propagate(x, v, gamma, weight)[0])
        return out


def _propagate(x: Tensor, v: Tensor, gamma: float, valid: Tensor | None) -> Tensor:
    x = F.normalize(x, dim=2)
    cosine = torch.bmm(x, x.transpose(1, 2)).clamp(min=0)
    if gamma < 1:
        cosine = cosine + 1e-6
    similarity = cosine if gamma == 1 else cosine**gamma
    if valid is not None:
        similarity = similarity * valid.unsqueeze(1)
    return torch.bmm(similarity, v)
