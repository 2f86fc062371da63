"""How much of the embedding space a set of features uses."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def feature_std(rows: Tensor) -> Tensor:
    """Mean standard deviation of the unit rows, times sqrt(D).

    Args:
        rows: (N, D) float, normalised here; N >= 1.

    Returns:
        A scalar: 1 for rows spread evenly over the sphere, 0 for identical ones.

    Raises:
        ValueError: ``rows`` is not (N, D) with N >= 1.

    Source: Chen & He 2021 (SimSiam), section 4.1, whose value is this over sqrt(D).
    """
    _check(rows)
    unit = functional.normalize(rows.double(), dim=1)
    return unit.std(dim=0, unbiased=False).mean() * rows.shape[1] ** 0.5


def singular_values(rows: Tensor) -> Tensor:
    """Singular values of the centred unit rows, from the (D, D) covariance, largest first.

    Args:
        rows: (N, D) float.

    Returns:
        (D,) float64, not negative; the last D - N + 1 are zero when N <= D.
    """
    _check(rows)
    unit = functional.normalize(rows.double(), dim=1)
    centred = unit - unit.mean(dim=0)
    eigenvalues = torch.linalg.eigvalsh(centred.T @ centred).flip(0)
    # Rounding leaves eigenvalues of +-1e-16 where there should be zeros; their roots would count.
    floor = eigenvalues.amax().clamp_min(0) * len(eigenvalues) * torch.finfo(torch.float64).eps
    return torch.where(eigenvalues > floor, eigenvalues.clamp_min(0), 0).sqrt()


def effective_rank(rows: Tensor) -> Tensor:
    """exp of the entropy of the normalised singular values of the centred unit rows.

    Args:
        rows: (N, D) float, normalised and centred here.

    Returns:
        A scalar in [1, min(N - 1, D)]; 0 when all rows are equal.

    Source: Roy & Vetterli 2007, definition 1.
    """
    values = singular_values(rows)
    total = values.sum()
    # Equal rows normalise to within rounding of each other: a spectrum of noise is no spectrum.
    if total <= 1e-7 * len(rows) ** 0.5:
        return torch.zeros((), dtype=torch.float64, device=rows.device)
    shares = values / total
    return torch.exp(torch.special.entr(shares).sum())


def _check(rows: Tensor) -> None:
    if rows.ndim != 2 or len(rows) < 1:
        raise ValueError(f"rows is {tuple(rows.shape)}, needs (N, D) with N >= 1")
