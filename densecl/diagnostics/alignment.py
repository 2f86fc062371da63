"""Dense alignment and uniformity: do matched cells agree, and do all cells fill the sphere?

Everything is of unit rows, in float64; a pair of a cell with itself is never counted.

Source: Wang & Isola 2020, section 4; the dense forms after Moon et al. 2022.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from densecl.pairs import Pairs, PointSet

BLOCK = 1024
"""Rows of the matrix of distances that are held together."""


def unit_rows(rows: Tensor) -> Tensor:
    """(N, D) float -> (N, D) float64 of length one; a zero row stays zero."""
    return functional.normalize(rows.detach().double(), dim=1)


def alignment(a: Tensor, b: Tensor) -> float:
    """Mean squared distance of rows (P, D) and (P, D) on the unit sphere; NaN without a row."""
    if a.shape != b.shape:
        raise ValueError(f"rows {(*a.shape,)} and {(*b.shape,)}")
    if not len(a):
        return math.nan
    return float((unit_rows(a) - unit_rows(b)).square().sum(1).mean())


@dataclass(frozen=True)
class Alignment:
    """How closely the two ends of a matching agree.

    Attributes:
        value: mean squared distance of the ends, in [0, 4]; 0 = equal.
        random: the same if the dst ends were shuffled among the pairs of each sample: its mean
            over all shuffles, which is exact and needs no draw.
        count: pairs.
    """

    value: float
    random: float
    count: int

    @property
    def net(self) -> float:
        """``value - random``: below 0 as far as the matching, not the picture, makes cells alike.

        Matchings that search for the most similar cell are low by construction; only their
        distance from chance, or from a search in another picture, says something.
        """
        return self.value - self.random


def dense_alignment(src: PointSet, dst: PointSet, pairs: Pairs, *, field: str) -> Alignment:
    """Alignment of the pairs of a matching; weights are not used.

    Args:
        src, dst: hold the features ``field``.
        pairs: between them.
        field: features to compare.
    """
    a, b = unit_rows(src.fields[field]), unit_rows(dst.fields[field])
    i, j = pairs.src, pairs.dst
    if not len(pairs):
        return Alignment(math.nan, math.nan, 0)
    value = float((a[i] - b[j]).square().sum(1).mean())
    # E|u - v|^2 over independent ends of a sample: |u|^2 and |v|^2 on average, less 2 mean.mean
    sample = src.sample[i]
    count = torch.bincount(sample, minlength=src.num_samples).double()
    means = []
    for rows in (a[i], b[j]):
        total = rows.new_zeros(src.num_samples, rows.shape[1]).index_add(0, sample, rows)
        means.append(total / count.clamp(min=1)[:, None])
    squares = a[i].square().sum(1).mean() + b[j].square().sum(1).mean()
    cross = (count * (means[0] * means[1]).sum(1)).sum() / len(pairs)
    return Alignment(value, float(squares - 2 * cross), len(pairs))


@dataclass(frozen=True)
class Uniformity:
    """Log of the mean Gaussian potential of pairs of cells; lower is more even.

    The three are never mixed: cells of one picture resemble each other because pictures are
    smooth. 0 = all equal; unit vectors at right angles give -2 t.

    Attributes:
        image: mean over pictures of the log mean over pairs of different cells of the picture.
        batch: log mean over pairs of cells of different pictures.
        all: log mean over all pairs of different cells.
    """

    image: float
    batch: float
    all: float


def uniformity(rows: Tensor, sample: Tensor, *, t: float = 2.0) -> Uniformity:
    """The three uniformities, exact over all ordered pairs i != j.

    Args:
        rows: (N, D) float, normalised here.
        sample: (N,) int64 id of the picture of each row.
        t: sharpness of the potential.

    Returns:
        NaN where there is no such pair: one picture, or one cell in each.
    """
    unit = unit_rows(rows)
    _, sample = sample.unique(return_inverse=True)
    pictures = int(sample.max()) + 1 if len(sample) else 0
    within = unit.new_full((pictures,), -torch.inf)
    across = unit.new_full((), -torch.inf)
    square = unit.square().sum(1)
    for start in range(0, len(unit), BLOCK):
        part = slice(start, start + BLOCK)
        distance = square[part, None] + square - 2 * unit[part] @ unit.T
        potential = -t * distance.clamp(min=0)
        same = sample[part, None] == sample
        across = torch.logaddexp(across, potential.masked_fill(same, -torch.inf).logsumexp((0, 1)))
        own = torch.arange(len(potential), device=unit.device)
        potential[own, own + start] = -torch.inf
        per_row = potential.masked_fill(~same, -torch.inf).logsumexp(1)
        # few rows of a block share a picture: their log-sums are joined one picture at a time
        for picture in sample[part].unique().tolist():
            joined = per_row[sample[part] == picture].logsumexp(0)
            within[picture] = torch.logaddexp(within[picture], joined)
    size = torch.bincount(sample, minlength=pictures).double()
    pairs_within = size * (size - 1)
    pairs_across = float(len(unit)) ** 2 - float(size.square().sum())
    usable = pairs_within > 0
    per_picture = within[usable] - pairs_within[usable].log()
    total = torch.logaddexp(within.logsumexp(0) if pictures else across, across)
    return Uniformity(
        image=float(per_picture.mean()) if bool(usable.any()) else math.nan,
        batch=float(across) - math.log(pairs_across) if pairs_across else math.nan,
        all=float(total) - math.log(len(unit) * (len(unit) - 1)) if len(unit) > 1 else math.nan,
    )
