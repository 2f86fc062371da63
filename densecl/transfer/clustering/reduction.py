"""Standardise features and keep their principal components, in two passes over them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Reduction:
    """A linear map of features: ``(x - mean) @ weight``.

    Attributes:
        mean: (C,). weight: (C, d). Both float32.
    """

    mean: Tensor
    weight: Tensor

    def apply(self, rows: Tensor) -> Tensor:
        """(N, C) -> (N, d) float32."""
        return (rows.float() - self.mean) @ self.weight


class Moments:
    """Mean and covariance of rows that come in parts.

    Products are formed in float32 around the first part's mean and added up in float64.
    """

    def __init__(self) -> None:
        self.count = 0

    def add(self, rows: Tensor) -> None:
        """Take in rows (N, C); parts without a row are passed over."""
        rows = rows.detach().cpu().float()
        if not len(rows):
            return
        if not self.count:
            self._origin = rows.double().mean(0).float()
            self._sum = torch.zeros(rows.shape[1], dtype=torch.float64)
            self._products = torch.zeros(rows.shape[1], rows.shape[1], dtype=torch.float64)
        apart = rows - self._origin
        self._sum += apart.double().sum(0)
        self._products += (apart.T @ apart).double()
        self.count += len(rows)

    def mean(self) -> Tensor:
        """(C,) float64."""
        return self._origin.double() + self._sum / self.count

    def covariance(self) -> Tensor:
        """(C, C) float64, divided by the number of rows."""
        mean = self._sum / self.count
        return self._products / self.count - mean[:, None] * mean

    def reduction(self, components: int | None = None, *, standardise: bool = True) -> Reduction:
        """What maps rows to their standardised principal components.

        Args:
            components: how many, at most C; None keeps the channels as they are.
            standardise: divide each channel by its deviation first. A channel that is constant,
                but for rounding, tells nothing and stays at zero.

        Raises:
            ValueError: no row was added.
        """
        if not self.count:
            raise ValueError("no rows to standardise")
        covariance = self.covariance()
        deviation = covariance.diagonal().clamp(min=0).sqrt()
        varies = deviation > 1e-4 * deviation.max().clamp(min=1e-12)
        scale = torch.where(varies, 1 / deviation.clamp(min=1e-30), torch.zeros_like(deviation))
        if not standardise:
            scale = varies.double()
        weight = torch.diag(scale)
        if components is not None:
            _, axes = torch.linalg.eigh(scale[:, None] * covariance * scale)
            weight = scale[:, None] * axes.flip(1)[:, :components]
        return Reduction(self.mean().float(), weight.float())
