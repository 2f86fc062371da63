"""Rows that belong to several regions with weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from densecl.pairs.checks import check_float, check_ids, check_rows


@dataclass
class SoftRegions:
    """Sparse soft assignment of rows to regions; a row may belong to several.

    Attributes:
        row: (Z,) int64, row of the point set.
        region: (Z,) int64, region id, >= 0.
        weight: (Z,) float, >= 0.
    """

    row: Tensor
    region: Tensor
    weight: Tensor

    def __post_init__(self) -> None:
        z = check_ids("regions.row", self.row, low=0)
        check_rows("regions.region", self.region, z, "regions.row", self.row)
        check_ids("regions.region", self.region, low=0)
        check_rows("regions.weight", self.weight, z, "regions.row", self.row)
        check_float("regions.weight", self.weight, dims=1)

    def to(self, device: torch.device | str) -> SoftRegions:
        """The same assignment on ``device``."""
        return SoftRegions(self.row.to(device), self.region.to(device), self.weight.to(device))


Regions = Tensor | SoftRegions
