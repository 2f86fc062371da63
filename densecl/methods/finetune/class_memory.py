"""The last rows of every class, for batches that are too small to show all classes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from densecl.pairs.ragged import rank_in_run


class ClassMemory(nn.Module):
    """First in, first out, for each class apart: a frequent class never pushes a rare one out.

    Args:
        num_classes: L.
        size: rows kept of each class.
        dim: D of a row.

    Attributes:
        feature: (L, size, D) float32. count: (L,) int64, rows ever pushed of each class.
    """

    feature: Tensor
    count: Tensor

    def __init__(self, num_classes: int, size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("feature", torch.zeros(num_classes, size, dim), persistent=False)
        self.register_buffer("count", torch.zeros(num_classes, dtype=torch.int64), persistent=False)

    @torch.no_grad()
    def push(self, rows: Tensor, labels: Tensor) -> None:
        """Take in rows (N, D) of classes (N,); of more than fit, the last ones stay."""
        size = self.feature.shape[1]
        order = torch.argsort(labels, stable=True)
        rows, labels = rows[order].float(), labels[order]
        number = torch.bincount(labels, minlength=len(self.count))
        rank = rank_in_run(labels)
        kept = rank >= number[labels] - size
        place = (self.count[labels] + rank) % size
        self.feature[labels[kept], place[kept]] = rows[kept]
        self.count += number

    def kept(self) -> tuple[Tensor, Tensor]:
        """What is kept: rows (K, D) and their classes (K,)."""
        size = self.feature.shape[1]
        filled = torch.arange(size, device=self.count.device) < self.count[:, None]
        return self.feature[filled], filled.nonzero()[:, 0]
