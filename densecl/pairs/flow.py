"""Pairs along known motion: cell centre + flow -> nearest cell of a view of the next frame."""

from __future__ import annotations

import torch
from torch import Tensor

from densecl.pairs.distance import in_sample
from densecl.pairs.pairs import Pairs
from densecl.pairs.point_set import PointSet, image_frame, same_samples


@torch.no_grad()
def match_by_flow(
    src: PointSet, dst: PointSet, flow: Tensor, *, max_distance: float = 0.71
) -> Pairs:
    """Follow each src row to the next frame and pair it with the nearest dst cell.

    Args:
        src: rows of a view of frame t.
        dst: rows of a view of frame t + 1, with ``cell``.
        flow: (B, H, W, 2) of the src view, or (N, 2) per src row: displacement in the unit of the
            frame from the row's coordinate to where it is seen at t + 1; NaN = not seen. A flow
            map is read at the pixel that holds the cell's centre.
        max_distance: how far the target may lie from the nearest cell's centre, in dst cells. A
            target inside a cell is at most sqrt(1/2) away.

    Returns:
        At most one pair per src row, ordered by src; the lowest dst row on ties. A row has no pair
        if its nearest cell is too far or not valid.

    Raises:
        ValueError: samples, units or shapes disagree, or the frames are not consecutive.
    """
    same_samples(src, dst)
    _check_consecutive(src, dst)
    if src.coord is None or dst.coord is None or dst.cell is None:
        raise ValueError("flow needs coord in src and dst, and cell in dst")
    target = src.coord + _row_flow(src, flow)
    usable = src.valid_mask() & target.isfinite().all(1)
    if dst.grid is not None and dst.grid.matrix is not None:
        row, distance = _nearest_cell(src.sample, target, dst, usable)
    else:
        row, distance = _nearest_of_all(src, target, dst, usable)
    keep = usable & (row >= 0) & (distance <= max_distance)
    if len(dst):
        keep &= dst.valid_mask()[row.clamp(min=0)]
    rows = keep.nonzero().squeeze(1)
    return Pairs(rows, row[rows], num_src=len(src), num_dst=len(dst))


def _check_consecutive(src: PointSet, dst: PointSet) -> None:
    if src.frame[1] != dst.frame[1]:
        raise ValueError(f"units of the frames differ: {src.frame} and {dst.frame}")
    name = src.frame[0]
    if name == "image" or name.startswith("image@"):
        number = 0 if name == "image" else int(name.removeprefix("image@"))
        expected = image_frame(number + 1)[0]
        if dst.frame[0] != expected:
            raise ValueError(
                f"flow leads from frame {name!r} to {expected!r}, dst is in {dst.frame[0]!r}"
            )


def _row_flow(src: PointSet, flow: Tensor) -> Tensor:
    if flow.ndim == 2:
        if flow.shape != (len(src), 2):
            raise ValueError(f"flow {tuple(flow.shape)} must be ({len(src)}, 2)")
        return flow
    if src.grid is None or len(src.grid.shape) != 2:
        raise ValueError("a flow map needs src to be a complete 2D map; give flow per row")
    if flow.ndim != 4 or flow.shape[0] != src.num_samples or flow.shape[3] != 2:
        raise ValueError(f"flow {tuple(flow.shape)} must be ({src.num_samples}, H, W, 2)")
    for axis, cells in enumerate(src.grid.shape, start=1):
        index = (2 * torch.arange(cells, device=flow.device) + 1) * flow.shape[axis] // (2 * cells)
        flow = flow.index_select(axis, index)
    return flow.reshape(-1, 2)


def _nearest_cell(
    sample: Tensor, target: Tensor, dst: PointSet, usable: Tensor
) -> tuple[Tensor, Tensor]:
    assert dst.grid is not None
    assert dst.grid.matrix is not None
    matrix = dst.grid.matrix.double()
    inverse = torch.linalg.inv(matrix[..., :-1])
    at = target.double() - matrix[..., -1][sample]
    at = (inverse[sample] * at.unsqueeze(-2)).sum(-1)
    at = torch.where(usable.unsqueeze(1), at, 0.0)
    cells = torch.tensor(list(reversed(dst.grid.shape)), device=target.device)
    # the lower cell where the target lies on a border: the lowest row wins ties
    near = (at.ceil() - 1).clamp(min=0).minimum((cells - 1).double()).long()
    distance = (at - near - 0.5).norm(dim=1)
    row = sample * int(cells.prod())
    stride = 1
    for axis, extent in enumerate(cells.tolist()):
        row = row + near[:, axis] * stride
        stride *= extent
    return row, distance


def _nearest_of_all(
    src: PointSet, target: Tensor, dst: PointSet, usable: Tensor
) -> tuple[Tensor, Tensor]:
    assert dst.coord is not None
    assert dst.cell is not None
    inverse = torch.linalg.inv(dst.cell.double().transpose(1, 2))
    best = torch.full((len(src),), torch.inf, dtype=torch.float64, device=src.device)
    row = torch.full((len(src),), -1, dtype=torch.int64, device=src.device)
    for i, j in in_sample(src, dst, usable):
        gap = target[i].double() - dst.coord[j].double()
        distance = (inverse[j] * gap.unsqueeze(-2)).sum(-1).norm(dim=1)
        distance = torch.nan_to_num(distance, nan=torch.inf)
        best.scatter_reduce_(0, i, distance, "amin")
        # distances of equal targets round alike only to about 1e-12 cells
        tied = distance <= best[i] + 1e-9
        lowest = torch.full_like(row, len(dst)).scatter_reduce_(0, i[tied], j[tied], "amin")
        row = torch.where(lowest < len(dst), lowest, row)
    return row, best
