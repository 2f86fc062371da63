"""Picture share: how much of what the features of cells say is which picture they are of."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def picture_share(rows: Tensor, sample: Tensor) -> float:
    """Share of the variance of the unit rows that lies between pictures.

    The intraclass correlation of a one-way random-effects analysis of variance: with G pictures of
    n_g cells, means m_g, and squares summed over the channels,

        within  = sum_g sum_i |z_gi - m_g|^2 / (N - G)
        between = (sum_g n_g |m_g - m|^2 / (G - 1) - within) / n_0
        n_0     = (N - sum_g n_g^2 / N) / (G - 1)

    and the share is between / (between + within). Taking ``within`` off makes it 0 on average
    for features that know nothing of their picture, however few cells a picture has.

    Args:
        rows: (N, D) float, normalised here.
        sample: (N,) int64, the picture of each row.

    Returns:
        1 = all cells of a picture are alike and pictures differ; 0 = a picture's cells are no more
        alike than cells of any pictures; below 0, at least -1 / (n_0 - 1), less alike. 0 where
        all rows are equal.

    Raises:
        ValueError: lengths differ, fewer than two pictures, or no picture with two rows.

    Source: Fisher 1925 (intraclass correlation); for groups of unequal size, Donner 1986.
    """
    if rows.ndim != 2 or len(rows) != len(sample):
        raise ValueError(f"rows {tuple(rows.shape)} and {len(sample)} pictures, needs one a row")
    _, group, count = sample.unique(return_inverse=True, return_counts=True)
    total, groups = len(rows), len(count)
    if groups < 2 or total == groups:
        raise ValueError(f"{total} rows of {groups} pictures, needs 2 pictures, one with 2 rows")
    unit = functional.normalize(rows.detach().double(), dim=1)
    unit = unit - unit.mean(0)
    means = unit.new_zeros(groups, unit.shape[1]).index_add_(0, group, unit) / count[:, None]
    inside = float((unit - means[group]).square().sum())
    outside = float((count[:, None] * means.square()).sum())
    # equal rows normalise to within rounding of one another
    if inside + outside <= 1e-14 * total:
        return 0.0
    within = inside / (total - groups)
    size = (total - float(count.double().square().sum()) / total) / (groups - 1)
    between = (outside / (groups - 1) - within) / size
    return between / (between + within)
