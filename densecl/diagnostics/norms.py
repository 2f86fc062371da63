"""Outlier norms: cells whose features are far longer than the others'."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class NormOutliers:
    """Lengths of feature rows.

    Attributes:
        share: of rows longer than the median by more than ``k`` median absolute deviations.
        ratio: largest length over the median; 1 where all are equal, infinite where the median is
            0 and the largest is not.
        median: of the lengths.
        deviation: median absolute deviation of the lengths from it, as it is (not scaled to agree
            with a normal distribution's standard deviation).
    """

    share: float
    ratio: float
    median: float
    deviation: float


def norm_outliers(rows: Tensor, k: float = 10.0) -> NormOutliers:
    """Find long rows.

    Args:
        rows: (N, D) float, N >= 1, as the backbone gives them: not normalised.
        k: median absolute deviations above which a row is an outlier.

    Raises:
        ValueError: no row.

    Source: Darcet et al. 2024, section 2, who count tokens above a fixed length; relative to the
        median, one threshold serves all backbones.
    """
    if rows.ndim != 2 or not len(rows):
        raise ValueError(f"rows is {tuple(rows.shape)}, needs (N, D) with N >= 1")
    length = torch.linalg.vector_norm(rows.detach().double(), dim=1)
    # the mean of the two middle values where there are two
    median = length.quantile(0.5)
    deviation = (length - median).abs().quantile(0.5)
    # lengths that differ by rounding alone are equal
    slack = 1e-9 * length.max()
    share = (length - median > k * deviation + slack).double().mean()
    largest = length.max()
    ratio = largest / median if median > 0 else (torch.inf if largest > 0 else 1.0)
    return NormOutliers(float(share), float(ratio), float(median), float(deviation))
