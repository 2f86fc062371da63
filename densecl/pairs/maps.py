"""Cells of a feature map: where they lie in the view and in the canonical frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from densecl.views.geometry import Geometry


def cell_centres(
    shape: tuple[int, ...], size: tuple[int, ...], device: torch.device | str = "cpu"
) -> Tensor:
    """Centres of the cells in view pixels, in row order: (h*w, d), x first.

    Args:
        shape: (h, w) or (Dz, h, w) of the map.
        size: (H, W) or (Dz, H, W) of the view.
        device: where to put them.
    """
    axes = [
        (torch.arange(cells, device=device, dtype=torch.float32) + 0.5) * (extent / cells)
        for cells, extent in zip(shape, size, strict=True)
    ]
    grid = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([axis.reshape(-1) for axis in reversed(grid)], dim=-1)


def grid_matrix(
    geometry: Geometry | None,
    shape: tuple[int, ...],
    size: tuple[int, ...],
    batch: int,
    device: torch.device | str = "cpu",
) -> Tensor | None:
    """Affine map from cell coordinates (x = j + .5) to the canonical frame: (B, d, d+1).

    None where the geometry is not affine.
    """
    from densecl.views.geometry import Affine

    steps = _steps(shape, size, device)
    if geometry is None:
        matrix = torch.cat([torch.diag(steps), torch.zeros(len(shape), 1, device=device)], dim=1)
        return matrix.expand(batch, -1, -1)
    if not isinstance(geometry, Affine):
        return None
    matrix = geometry.matrix.to(device)
    scaled = torch.cat([matrix[..., :-1] * steps, matrix[..., -1:]], dim=-1)
    return scaled.expand(batch, -1, -1)


def cell_edges(
    geometry: Geometry | None, shape: tuple[int, ...], size: tuple[int, ...], centres: Tensor
) -> Tensor:
    """Edge vectors of every cell in the canonical frame: (B, n, d, d), [.., k, :] = k-th edge.

    Exact for affine geometry; otherwise the difference of the midpoints of opposite sides.

    Args:
        geometry: batched, or None for the view's own pixels.
        shape: of the map.
        size: of the view.
        centres: (B, n, d) cell centres in view pixels.
    """
    batch, n, d = centres.shape
    matrix = grid_matrix(geometry, shape, size, batch, centres.device)
    if matrix is not None:
        return matrix[..., :-1].transpose(1, 2).unsqueeze(1).expand(batch, n, d, d)
    assert geometry is not None
    steps = _steps(shape, size, centres.device)
    edges = []
    for axis in range(d):
        # A quarter of the cell each way: its border may round to the outside of a dense map.
        quarter = torch.zeros(d, device=centres.device)
        quarter[axis] = steps[axis] / 4
        ahead = geometry.to_canonical(centres + quarter)
        edges.append(2 * (ahead - geometry.to_canonical(centres - quarter)))
    return torch.stack(edges, dim=2)


def read_cells(values: Tensor, shape: tuple[int, ...], how: str = "centre") -> Tensor:
    """One value per cell of a pixel map.

    Args:
        values: (B, H, W) or (B, Dz, H, W), integer or bool.
        shape: of the feature map.
        how: ``centre``: the pixel that holds the cell's centre (where the centre falls on a pixel
            border, the pixel after it); ``majority``: the most frequent value among the pixels
            whose centre lies in the cell, the lowest on ties.

    Returns:
        (B, *shape).

    Raises:
        ValueError: ``how`` is unknown, or the map is coarser than the cells with ``majority``.
    """
    size = tuple(values.shape[1:])
    if len(size) != len(shape):
        raise ValueError(f"a map {tuple(values.shape)} cannot be read on a grid {shape}")
    device = values.device
    if how == "centre":
        for axis, (extent, cells) in enumerate(zip(size, shape, strict=True), start=1):
            index = (2 * torch.arange(cells, device=device) + 1) * extent // (2 * cells)
            values = values.index_select(axis, index)
        return values
    if how != "majority":
        raise ValueError(f"how must be 'centre' or 'majority', got {how!r}")
    cell = torch.arange(values.shape[0], device=device).reshape(-1, *[1] * len(size))
    for axis, (extent, cells) in enumerate(zip(size, shape, strict=True)):
        if extent < cells:
            raise ValueError(f"majority needs a pixel in each cell: {size} pixels, {shape} cells")
        index = (2 * torch.arange(extent, device=device) + 1) * cells // (2 * extent)
        cell = cell * cells + index.reshape([-1 if i == axis else 1 for i in range(len(size))])
    cell = cell.expand_as(values).reshape(-1)
    ids = values.reshape(-1).long()
    low = int(ids.min()) if ids.numel() else 0
    width = int(ids.max()) - low + 1 if ids.numel() else 1
    seen, count = torch.unique(cell * width + (ids - low), return_counts=True)
    # Stable sorts: by count within the cell, then by cell; `seen` starts in order of id.
    order = torch.argsort(count, descending=True, stable=True)
    order = order[torch.argsort(seen[order] // width, stable=True)]
    owner = seen[order] // width
    first = torch.ones_like(owner, dtype=torch.bool)
    first[1:] = owner[1:] != owner[:-1]
    winner = seen[order][first] % width + low
    return winner.to(values.dtype).reshape(values.shape[0], *shape)


def _steps(shape: tuple[int, ...], size: tuple[int, ...], device: torch.device | str) -> Tensor:
    pairs = zip(reversed(size), reversed(shape), strict=True)
    return torch.tensor([extent / cells for extent, cells in pairs], device=device)
