"""Ridge regression in closed form: no randomness, no learning rate."""

from __future__ import annotations

import torch
from torch import Tensor


def fit_ridge(x: Tensor, targets: Tensor, decay: float) -> tuple[Tensor, Tensor]:
    """Ridge regression to vectors, solved in float64; the bias is free.

    Args:
        x: (N, C) features, N >= 1.
        targets: (N, T) of any type, such as one-hot classes or coordinates.
        decay: > 0, L2 weight per row.

    Returns:
        weight (T, C) and bias (T,) float64 that minimise
        ``|x weight.T + bias - targets|^2 / N + decay * |weight|^2``.
    """
    rows, goals = x.double(), targets.double()
    middle, level = rows.mean(0), goals.mean(0)
    # With both centred the bias drops out of the normal equations.
    centred = rows - middle
    normal = centred.T @ centred / len(rows)
    normal.diagonal().add_(decay)
    factor = torch.linalg.cholesky(normal)
    weight = torch.cholesky_solve(centred.T @ (goals - level) / len(rows), factor).T
    return weight, level - weight @ middle
