"""Points and pixels that show the same: pairs, readings and regions through projection links.

Two numberings meet here. Points have the number of their scan as ``sample``, pixels that of their
picture, for a scan has several pictures; ``Links.scan`` leads from one to the other.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from densecl.pairs.pairs import Pairs
from densecl.pairs.point_set import PointSet
from densecl.pairs.ragged import join
from densecl.pairs.resample import Resample

if TYPE_CHECKING:
    from pointcl.views.links import Links


@torch.no_grad()
def match_by_projection(
    points: PointSet,
    pixels: PointSet,
    links: Links,
    size: tuple[int, int],
    *,
    by: str = "index",
    repeated: bool = False,
) -> tuple[Pairs, dict[str, int]]:
    """Pair each point with the cell of the feature map in which its pixel lies.

    Args:
        points: rows of B clouds or their voxels; ``sample`` is the scan.
        pixels: the complete rows of I feature maps, as ``PointSet.from_map`` or ``from_view``
            give them; ``sample`` is the picture.
        links: of the batch, to pixels of the views.
        size: (H, W) of the views.
        by: "index": links count the rows of the clouds as they were read, and a row of ``points``
            is found by its ``sample`` and ``index``; links of points that no row stands for are
            lost. "row": links were renumbered and count the rows of ``points``; a voxel then keeps
            the links of all its points.
        repeated: keep a pair as often as links give it; False = once.

    Returns:
        Pairs ordered by (point, cell), and the number of links by what became of them, summing to
        P: ``paired``; ``no_row``, no row of ``points`` for its point; ``outside`` of the picture;
        ``not_valid``, point or cell; ``repeated``, an equal pair came before.

    Raises:
        ValueError: the sets are not those of the links, or ``by`` is unknown.

    Source: Sautier et al. 2022 (SLidR), section 3.1; Liu et al. 2021 (PPKT), section 3.
    """
    link, row = _rows_of_links(points, links, by)
    has_row = _mask(len(links), link)
    cells, lies_inside = _cells_of_links(pixels, links, size)
    usable = lies_inside[link] & points.valid_mask()[row]
    usable &= pixels.valid_mask()[cells[link]]
    link, row = link[usable], row[usable]
    cell = cells[link]

    # In the order of the links, so that of equal pairs the first link's stays.
    order = torch.argsort(row * max(len(pixels), 1) + cell, stable=True)
    link, row, cell = link[order], row[order], cell[order]
    first = torch.ones_like(link, dtype=torch.bool)
    if not repeated:
        first[1:] = (row[1:] != row[:-1]) | (cell[1:] != cell[:-1])
    pairs = Pairs(row[first], cell[first], num_src=len(points), num_dst=len(pixels))

    found, paired = _mask(len(links), link), _mask(len(links), link[first])
    counts = {
        "paired": paired,
        "no_row": ~has_row,
        "outside": has_row & ~lies_inside,
        "not_valid": has_row & lies_inside & ~found,
        "repeated": found & ~paired,
    }
    return pairs, {name: int(mask.sum()) for name, mask in counts.items()}


def read_pixels(
    links: Links, shape: tuple[int, int], size: tuple[int, int], *, align_corners: bool = False
) -> Resample:
    """Bilinear reading of the pictures' feature maps at the pixel of each link.

    ``read_pixels(...).apply(features)`` gives one row per link from the rows of I maps. Within half
    a cell of the border the nearest cells are read, so the weights always sum to 1.

    Args:
        links: P of them, to pixels of the views, inside the views.
        shape: (h, w) of the maps.
        size: (H, W) of the views.
        align_corners: whether the centres of the corner cells lie on those of the corner pixels,
            as ``F.interpolate`` has it; False = cells tile the view.

    Raises:
        ValueError: a pixel lies outside the views.
    """
    _refuse_outside(links, size)
    (h, w), (height, width) = shape, size
    if align_corners:
        x, y = (
            (links.pixel[:, axis] - 0.5) * ((cells - 1) / max(pixels - 1, 1))
            for axis, cells, pixels in ((0, w, width), (1, h, height))
        )
    else:
        x, y = links.pixel[:, 0] * (w / width) - 0.5, links.pixel[:, 1] * (h / height) - 0.5
    x, y = x.clamp(0, w - 1), y.clamp(0, h - 1)
    left, top = x.floor().long(), y.floor().long()
    src, weight = [], []
    for down in (0, 1):
        for right in (0, 1):
            column, row = (left + right).clamp(max=w - 1), (top + down).clamp(max=h - 1)
            src.append((links.image * h + row) * w + column)
            across = x - left if right else 1 - (x - left)
            weight.append(across * (y - top if down else 1 - (y - top)))
    number = torch.arange(len(links), device=links.point.device)
    return Resample(
        torch.cat(src),
        number.repeat(4),
        torch.cat(weight),
        num_src=links.num_images * h * w,
        num_dst=len(links),
    )


def read_regions(links: Links, maps: Tensor) -> Tensor:
    """Id of the pixel in which each link lies, (P,) int64; -1 where there is none.

    Ids count within a picture: pool with ``sample=links.image``, or number them over the batch
    first (``number_regions``).

    Args:
        links: to pixels of the views.
        maps: (I, H, W) int, ids of segments in the views, -1 = none.

    Raises:
        ValueError: the maps are not those of the pictures, or a pixel lies outside.
    """
    if maps.ndim != 3 or len(maps) != links.num_images:
        raise ValueError(f"maps {tuple(maps.shape)} for {links.num_images} pictures")
    _refuse_outside(links, (maps.shape[1], maps.shape[2]))
    x, y = links.pixel.floor().long().unbind(1)
    return maps[links.image, y, x].long()


def number_regions(maps: Tensor, per_picture: int | None = None) -> Tensor:
    """Ids that are unique in the batch: picture * ``per_picture`` + id, -1 stays.

    Args:
        maps: (I, ...) int ids, -1 = none.
        per_picture: how many ids a picture may have; None = the largest id + 1.

    Raises:
        ValueError: an id is not below ``per_picture``: it would be one of the next picture's.

    Source: Sautier et al. 2022 (SLidR), whose code takes 150 and does not look.
    """
    most = int(maps.max()) + 1 if maps.numel() else 0
    if per_picture is not None and most > per_picture:
        raise ValueError(f"region id {most - 1} in a picture of at most {per_picture} regions")
    step = most if per_picture is None else per_picture
    picture = torch.arange(len(maps), device=maps.device).reshape(-1, *[1] * (maps.ndim - 1))
    return torch.where(maps >= 0, maps.long() + picture * step, -1)


def points_at_links(
    points: PointSet, links: Links, maps: dict[str, Tensor] | None = None
) -> PointSet:
    """One row per link: the point's features, in the picture that shows it.

    ``pool_points`` of the result and of the pixels, over the same region, give rows that
    ``match_by_region`` pairs: one per superpixel and picture, on both sides.

    Args:
        points: rows that the links count, see ``Links.renumber``.
        links: to pixels of the views.
        maps: name -> (I, H, W) int ids, become ``regions``; -1 = none.

    Returns:
        ``sample`` is the picture. A point in two pictures has two rows.

    Raises:
        ValueError: the links count other rows, or the maps do not fit.
    """
    _refuse_other_rows(points, links)
    regions = {name: read_regions(links, ids) for name, ids in (maps or {}).items()}
    rows = points.select(links.point)
    return replace(
        rows,
        sample=links.image,
        num_samples=links.num_images,
        span=None,
        regions={**rows.regions, **regions},
    )


def by_scan(pixels: PointSet, links: Links) -> PointSet:
    """The same pixels with the number of their scan as ``sample``, as points have it.

    Rules such as ``not_same_sample`` then mean the scan on both sides. The rows are no longer
    those of a map.
    """
    if pixels.num_samples != links.num_images:
        raise ValueError(f"{pixels.num_samples} pictures, links to {links.num_images}")
    return replace(
        pixels,
        sample=links.scan[pixels.sample],
        num_samples=links.num_scans,
        span=None,
        grid=None,
    )


def _rows_of_links(points: PointSet, links: Links, by: str) -> tuple[Tensor, Tensor]:
    """Numbers of links and the row of ``points`` each stands for; ordered by link."""
    if by not in ("index", "row"):
        raise ValueError(f"by must be 'index' or 'row', got {by!r}")
    if points.num_samples != links.num_scans:
        raise ValueError(f"points of {points.num_samples} scans, links of {links.num_scans}")
    if by == "row":
        _refuse_other_rows(points, links)
        return torch.arange(len(links), device=points.device), links.point
    if points.index is None:
        raise ValueError("by='index' needs points.index; renumber the links and give by='row'")
    counts = torch.tensor(links.counts, device=points.device)
    known = (points.index >= 0).nonzero().squeeze(1)
    sample, index = points.sample[known], points.index[known]
    if bool((index >= counts[sample]).any()):
        raise ValueError(f"points.index goes beyond the {links.counts} rows of the links' clouds")
    raw = (counts.cumsum(0) - counts)[sample] + index
    link, place = join(links.point, raw)
    return link, known[place]


def _cells_of_links(pixels: PointSet, links: Links, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Row of ``pixels`` for each link, 0 where it lies outside the view, and whether it is in."""
    if pixels.grid is None or len(pixels.grid.shape) != 2:
        raise ValueError("pixels must be the rows of 2D maps, in order and complete")
    if pixels.num_samples != links.num_images:
        raise ValueError(f"{pixels.num_samples} pictures, links to {links.num_images}")
    (h, w), (height, width) = pixels.grid.shape, size
    x, y = links.pixel.unbind(1)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    # The product may round up to the border: the cell is never beyond the last.
    column = (x * (w / width)).long().clamp(0, w - 1)
    row = (y * (h / height)).long().clamp(0, h - 1)
    return torch.where(inside, (links.image * h + row) * w + column, 0), inside


def _refuse_other_rows(points: PointSet, links: Links) -> None:
    if len(points) != links.num_points:
        raise ValueError(
            f"links count {links.num_points} rows, points has {len(points)}: renumber the links"
        )


def _refuse_outside(links: Links, size: tuple[int, int]) -> None:
    extent = links.pixel.new_tensor([size[1], size[0]])
    out = ((links.pixel < 0) | (links.pixel >= extent)).any(1)
    if bool(out.any()):
        raise ValueError(f"{int(out.sum())} of {len(links)} links lie outside views of {size}")


def _mask(n: int, rows: Tensor) -> Tensor:
    return torch.zeros(n, dtype=torch.bool, device=rows.device).index_fill(0, rows, True)
