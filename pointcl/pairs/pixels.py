"""Means of unit vectors over the pixels of regions, from maps coarser than the pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from densecl.losses.numerics import full_precision, promote
from densecl.pairs.pooling import Pooled

SHORTEST = 1e-6
"""A pixel's vector no longer than this counts as zero, as in ``densecl.losses.normalise``."""

CANCELLED = 16.0
"""Roundings of the squared length of neighbouring cells, below which a pixel counts as zero."""


def pool_unit_pixels(
    maps: Tensor, regions: Tensor, num_regions: int, *, align_corners: bool = True
) -> Pooled:
    """Enlarge maps bilinearly, make each pixel's vector a unit vector, average over regions.

    No pixel gets a vector. A pixel's vector is a sum over four cells, so its squared length follows
    from ten products of neighbouring cells, and a region's mean is a product of the cells with the
    weights of its pixels. Time and memory of a pixel do not depend on D.

    Args:
        maps: (I, D, h, w) float.
        regions: (I, H, W) int, ids within their picture, 0 to ``num_regions`` - 1; -1 = none.
        num_regions: S, ids of a picture. The weights take I * S * h * w numbers.
        align_corners: whether the corner cells lie on the corner pixels, as ``F.interpolate``.

    Returns:
        I * S rows, region s of picture i in row i * S + s; a region without a pixel is a row of
        zeros with mass 0. Float32, or float64 for maps of it.

    Raises:
        ValueError: shapes disagree, or an id is not below ``num_regions``.

    Source: Sautier et al. 2022 (SLidR), section 3.2, eq. 2.
    """
    if maps.ndim != 4 or regions.ndim != 3 or len(maps) != len(regions):
        raise ValueError(f"maps {tuple(maps.shape)} for regions {tuple(regions.shape)}")
    if regions.numel() and int(regions.max()) >= num_regions:
        raise ValueError(f"region ids must be < {num_regions}, got {int(regions.max())}")
    images, dim = len(maps), maps.shape[1]
    with full_precision(maps.device):
        cells = _at_least_two(promote(maps))
        h, w = cells.shape[2:]
        top, down = _places(regions.shape[1], maps.shape[2], align_corners, cells)
        left, right = _places(regions.shape[2], maps.shape[3], align_corners, cells)
        down = down.unsqueeze(1)
        inverse = _inverse_lengths(cells, top, down, left, right)

        # Pixels of regions, each with its region's row of weights and the cell to its upper left.
        picture = torch.arange(images, device=maps.device).view(-1, 1, 1)
        row = picture * num_regions + regions.long()
        start = row * (h * w) + (top.unsqueeze(1) * w + left)
        known = None
        if not bool((regions >= 0).all()):
            known = (regions >= 0).flatten().nonzero().squeeze(1)
        row, start = (_rows(values, known) for values in (row, start))
        weights = cells.new_zeros(images * num_regions * h * w)
        for below, vertical in ((0, 1 - down), (1, down)):
            for beside, horizontal in ((0, 1 - right), (1, right)):
                share = _rows(vertical * horizontal * inverse, known)
                weights = weights.scatter_add(0, start + (below * w + beside), share)
        mass = torch.bincount(row, minlength=images * num_regions).to(cells.dtype)
        weights = weights.view(images, num_regions, h * w)
        pooled = weights @ cells.flatten(2).transpose(1, 2)
        pooled = pooled.reshape(-1, dim) / mass.clamp_min(1).unsqueeze(1)
    every = torch.arange(images * num_regions, device=maps.device)
    return Pooled(pooled, every, every // max(num_regions, 1), mass)


def _rows(values: Tensor, chosen: Tensor | None) -> Tensor:
    """All values in a row, or the chosen ones."""
    flat = values.flatten()
    return flat if chosen is None else flat.index_select(0, chosen)


def _at_least_two(cells: Tensor) -> Tensor:
    """A single row or column twice, so that each pixel lies between two."""
    for axis in (2, 3):
        if cells.shape[axis] == 1:
            cells = torch.cat([cells, cells], axis)
    return cells


def _places(pixels: int, cells: int, align_corners: bool, like: Tensor) -> tuple[Tensor, Tensor]:
    """The cell before each pixel's centre along an axis, and how far it is on to the next one."""
    centre = torch.arange(pixels, device=like.device, dtype=like.dtype)
    if align_corners:
        at = centre * ((cells - 1) / max(pixels - 1, 1))
    else:
        at = (centre + 0.5) * (cells / pixels) - 0.5
    at = at.clamp(0, cells - 1)
    before = at.floor().clamp(max=max(cells - 2, 0))
    return before.long(), at - before


def _inverse_lengths(
    cells: Tensor, top: Tensor, down: Tensor, left: Tensor, right: Tensor
) -> Tensor:
    """(I, H, W): 1 / length of each pixel's vector; 0 where it counts as zero."""
    own = cells.square().sum(1)
    below = (cells[:, :, :-1] * cells[:, :, 1:]).sum(1)
    beside = (cells[..., :-1] * cells[..., 1:]).sum(1)
    falling = (cells[:, :, :-1, :-1] * cells[:, :, 1:, 1:]).sum(1)
    rising = (cells[:, :, 1:, :-1] * cells[:, :, :-1, 1:]).sum(1)

    # Along columns first: squared lengths of rows of cells, products of neighbours in them.
    line = _square(own[:, top], below[:, top], own[:, top + 1], down)
    across = _square(beside[:, top], ((falling + rising) / 2)[:, top], beside[:, top + 1], down)
    length = _square(line[..., left], across[..., left], line[..., left + 1], right)

    with torch.no_grad():
        largest = torch.lerp(own[:, top], own[:, top + 1], down)
        largest = torch.lerp(largest[..., left], largest[..., left + 1], right)
        least = (CANCELLED * torch.finfo(cells.dtype).eps * largest).clamp_min(SHORTEST**2)
        zero = length <= least
    # Divided by infinity a pixel is zero, and so is every gradient through it.
    return length.masked_fill(zero, float("inf")).rsqrt()


def _square(first: Tensor, product: Tensor, second: Tensor, part: Tensor) -> Tensor:
    """``|(1 - t) a + t b|^2`` from a.a, a.b and b.b."""
    rest = 1 - part
    return rest * rest * first + 2 * rest * part * product + part * part * second
