"""The centre of a teacher's outputs, subtracted before they become targets."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Centre(nn.Module):
    """Moving average of the mean row.

    Attributes:
        centre: (D,) float32 buffer.
        live: () bool buffer, False until the first update, which sets the centre to that mean
            instead of mixing it with zeros.

    Args:
        dim: D.
        momentum: share of the old centre kept at an update.

    Source: Caron et al. 2021 (DINO), eq. 4.
    """

    centre: Tensor
    live: Tensor

    def __init__(self, dim: int, momentum: float = 0.9) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("centre", torch.zeros(dim))
        self.register_buffer("live", torch.zeros((), dtype=torch.bool))

    @torch.no_grad()
    def update(self, total: Tensor, count: Tensor | float) -> None:
        """Mix in the mean of one optimiser step.

        Args:
            total: (D,) sum of the step's rows, over its micro-batches and all ranks.
            count: how many rows that was; 0 leaves the centre as it is.
        """
        if float(count) == 0:
            return
        mean = total.to(self.centre) / count
        keep = self.momentum if bool(self.live) else 0.0
        self.centre.lerp_(mean, 1.0 - keep)
        self.live.fill_(True)

    def forward(self, rows: Tensor) -> Tensor:
        """Rows (..., D) minus the centre; unchanged while it is not live."""
        return rows - self.centre
