"""Position leak: how well does a linear map read a cell's place off its features?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from densecl.diagnostics.linear_probe import standardisation
from densecl.diagnostics.ridge import fit_ridge


@dataclass(frozen=True)
class PositionLeak:
    """Shares of the variance of the coordinates that a ridge map explains on held-out pictures.

    Attributes:
        x, y: per coordinate; 1 = read exactly, 0 = no better than the mean; below 0 the map is
            worse than the mean.
        control: mean of both with the training coordinates shuffled among the cells: what a map
            with nothing to learn scores, about 0 or a little below.
    """

    x: float
    y: float
    control: float

    @property
    def mean(self) -> float:
        """Of both coordinates."""
        return (self.x + self.y) / 2


def position_leak(
    features: Tensor,
    places: Tensor,
    held_features: Tensor,
    held_places: Tensor,
    *,
    decay: float = 1e-3,
    draw: np.random.Generator,
) -> PositionLeak:
    """Fit on the cells of some pictures and score on those of others.

    Args:
        features: (N, C) float, standardised here.
        places: (N, 2) float (x, y) of the cells, in any unit.
        held_features: (M, C) of other pictures.
        held_places: (M, 2).
        decay: L2 weight of the ridge map per row, > 0.
        draw: shuffles the control's coordinates.

    Raises:
        ValueError: fewer than two rows on a side, lengths differ, or held-out cells that all lie
            at one x or y.
    """
    for rows, where in ((features, places), (held_features, held_places)):
        if len(rows) != len(where) or len(rows) < 2:
            raise ValueError(f"{len(rows)} rows of features and {len(where)} places")
    x, held = features.double(), held_features.double()
    mean, std = standardisation(x)
    x, held = (x - mean) / std, (held - mean) / std
    targets, truth = places.double(), held_places.double()
    shuffled = targets[torch.from_numpy(draw.permutation(len(targets))).to(targets.device)]
    weight, bias = fit_ridge(x, torch.cat([targets, shuffled], dim=1), decay)
    predicted = held @ weight.T + bias
    spread = (truth - truth.mean(0)).square().sum(0)
    if not bool((spread > 0).all()):
        raise ValueError("the held-out cells do not differ in both coordinates")
    right = 1 - (predicted[:, :2] - truth).square().sum(0) / spread
    control = 1 - (predicted[:, 2:] - truth).square().sum(0) / spread
    return PositionLeak(float(right[0]), float(right[1]), float(control.mean()))
