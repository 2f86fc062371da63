"""Resample: weighted rows combined into one feature before the loss."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from densecl.pairs.checks import check_float, check_ids, check_rows


@dataclass
class Resample:
    """A sparse linear map of rows: out[dst] += weight * features[src].

    Bilinear reading is 4 rows per output row, trilinear 8, nearest 1.

    Attributes:
        src: (Z,) int64 row that is read.
        dst: (Z,) int64 row that is written.
        weight: (Z,) float; may be negative (bicubic).
        num_src, num_dst: rows before and after.
    """

    src: Tensor
    dst: Tensor
    weight: Tensor
    num_src: int = field(kw_only=True)
    num_dst: int = field(kw_only=True)

    def __post_init__(self) -> None:
        z = check_ids("src", self.src, low=0, high=self.num_src, limit="num_src")
        check_rows("dst", self.dst, z, "src", self.src)
        check_ids("dst", self.dst, low=0, high=self.num_dst, limit="num_dst")
        check_rows("weight", self.weight, z, "src", self.src)
        check_float("weight", self.weight, dims=1)

    def __len__(self) -> int:
        return self.src.shape[0]

    def apply(self, features: Tensor) -> Tensor:
        """Combined rows, differentiable: (num_src, D) -> (num_dst, D).

        Raises:
            ValueError: ``features`` has another number of rows.
        """
        if features.ndim != 2 or features.shape[0] != self.num_src:
            raise ValueError(f"features {tuple(features.shape)} must be ({self.num_src}, D)")
        weighted = features[self.src] * self.weight.to(features.dtype).unsqueeze(1)
        out = features.new_zeros(self.num_dst, features.shape[1])
        return out.index_add(0, self.dst, weighted)

    def covered(self, tolerance: float = 1e-6) -> Tensor:
        """Rows whose weights sum to 1, those read entirely from inside: (num_dst,) bool."""
        total = self.weight.new_zeros(self.num_dst).index_add(0, self.dst, self.weight)
        return (total - 1).abs() <= tolerance

    def to(self, device: torch.device | str) -> Resample:
        """The same map on ``device``."""
        return replace(
            self,
            src=self.src.to(device),
            dst=self.dst.to(device),
            weight=self.weight.to(device),
        )
