"""PointSet: the rows of a batch, whether they came from a map or from a point cloud."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from densecl.pairs.checks import check_float, check_ids, check_rows
from densecl.pairs.maps import cell_centres, cell_edges, grid_matrix, read_cells
from densecl.pairs.soft_regions import Regions, SoftRegions

if TYPE_CHECKING:
    from densecl.views.geometry import Geometry
    from densecl.views.view import ViewBatch

IMAGE_PIXELS = ("image", "px")


@dataclass
class Grid:
    """What makes a point set a map: row = b*h*w + i*w + j (b*Dz*h*w + ... in 3D).

    Attributes:
        shape: (h, w) or (Dz, h, w).
        matrix: (B, d, d+1) affine from cell coordinates, x = j + .5, to the canonical frame, or
            None where the geometry is not affine.
    """

    shape: tuple[int, ...]
    matrix: Tensor | None = None


@dataclass
class PointSet:
    """Rows of features of the whole batch with everything that pairs are built from.

    Attributes:
        fields: name -> (N, D_f) float. Features to match on and features for the loss may differ.
        sample: (N,) int64 in [0, num_samples), the batch item of each row; need not be sorted.
        coord: (N, d) float in the frame ``frame``, or None.
        num_samples: B. Given explicitly because the last samples may have no row.
        frame: (name, unit) of ``coord``. Builders that use coordinates refuse two frames.
        source: (N,) int64 id of the image or scan that the row shows, -1 = unknown.
        index: (N,) int64 row in the raw input, -1 = none.
        regions: name -> ids (N,), id paths (N, L) from coarse to fine, or ``SoftRegions``;
            -1 = none.
        label: (N,) int64 class id, 255 = ignore.
        valid: (N,) bool; rows that are not valid never pair. None = all valid.
        cell: (N, d, d) edge vectors of the row's cell in the frame, [n, k] = k-th edge, or None.
        span: (B, d) extent of each source in the frame (width, height, ...), or None.
        grid: set by ``from_map``; lost by any change of the rows.
    """

    fields: dict[str, Tensor]
    sample: Tensor
    coord: Tensor | None = None
    num_samples: int = -1
    frame: tuple[str, str] = IMAGE_PIXELS
    source: Tensor | None = None
    index: Tensor | None = None
    regions: dict[str, Regions] = field(default_factory=dict)
    label: Tensor | None = None
    valid: Tensor | None = None
    cell: Tensor | None = None
    span: Tensor | None = None
    grid: Grid | None = None

    def __post_init__(self) -> None:
        if self.num_samples < 0:
            self.num_samples = int(self.sample.max()) + 1 if self.sample.numel() else 0
        n = check_ids("sample", self.sample, low=0, high=self.num_samples, limit="num_samples")
        for name, value in self.fields.items():
            check_rows(f"fields[{name!r}]", value, n, "sample", self.sample)
            check_float(f"fields[{name!r}]", value, dims=2)
        for name in ("source", "index", "label"):
            ids = getattr(self, name)
            if ids is not None:
                check_rows(name, ids, n, "sample", self.sample)
                check_ids(name, ids)
        for name, dims in (("coord", 2), ("cell", 3)):
            value = getattr(self, name)
            if value is not None:
                check_rows(name, value, n, "sample", self.sample)
                check_float(name, value, dims=dims)
        if self.valid is not None:
            check_rows("valid", self.valid, n, "sample", self.sample)
            if self.valid.dtype != torch.bool or self.valid.ndim != 1:
                raise ValueError(f"valid must be (N,) bool, got {self.valid.dtype}")
        for name, region in self.regions.items():
            if isinstance(region, SoftRegions):
                check_ids(f"regions[{name!r}].row", region.row, low=0, high=n, limit="rows")
            else:
                check_rows(f"regions[{name!r}]", region, n, "sample", self.sample)
                check_ids(f"regions[{name!r}]", region, dims=(1, 2))
        if self.span is not None and len(self.span) != self.num_samples:
            raise ValueError(
                f"span must have one row per sample: {tuple(self.span.shape)} for "
                f"num_samples={self.num_samples}"
            )

    def __len__(self) -> int:
        return self.sample.shape[0]

    @property
    def device(self) -> torch.device:
        """Device of the rows."""
        return self.sample.device

    def valid_mask(self) -> Tensor:
        """``valid`` with None spelled out: (N,) bool."""
        if self.valid is not None:
            return self.valid
        return torch.ones(len(self), dtype=torch.bool, device=self.device)

    @classmethod
    def from_map(
        cls,
        fields: dict[str, Tensor],
        *,
        geometry: Geometry | None,
        size: tuple[int, ...],
        source: Tensor | None = None,
        valid: Tensor | None = None,
        maps: dict[str, Tensor] | None = None,
        read: str = "centre",
        frame: tuple[str, str] = IMAGE_PIXELS,
        span: Tensor | None = None,
    ) -> PointSet:
        """Rows of feature maps that share one grid, with their canonical coordinates.

        Args:
            fields: name -> (B, D_f, h, w), or (B, D_f, Dz, h, w) for volumes.
            geometry: batched map from view pixels to the canonical frame; None keeps view pixels.
            size: (H, W) or (Dz, H, W) of the view that the maps were computed from.
            source: (B,) int64.
            valid: (B, H, W) bool.
            maps: name -> (B, H, W) int; ``label`` becomes ``label``, the others ``regions``.
            read: how a cell reads ``valid`` and ``maps``: ``centre``, the pixel under its centre,
                or ``majority`` of its pixels (the lowest id on ties).
            frame: name and unit of the canonical frame.
            span: (B, d) width, height, ... of each source.

        Raises:
            ValueError: no field, or grids, batch sizes or the number of dimensions differ.
        """
        if not fields:
            raise ValueError("from_map needs at least one field")
        first = next(iter(fields.values()))
        batch, shape = first.shape[0], tuple(first.shape[2:])
        if len(shape) != len(size):
            raise ValueError(f"a map of shape {tuple(first.shape)} cannot come from size {size}")
        for name, value in fields.items():
            if value.shape[0] != batch or tuple(value.shape[2:]) != shape:
                raise ValueError(
                    f"fields[{name!r}] {tuple(value.shape)} and {tuple(first.shape)} are no maps "
                    "on one grid"
                )
        per_sample = 1
        for extent in shape:
            per_sample *= extent
        device = first.device
        rows = {
            name: value.movedim(1, -1).reshape(batch * per_sample, value.shape[1])
            for name, value in fields.items()
        }
        centres = cell_centres(shape, size, device).expand(batch, -1, -1)
        coord = centres if geometry is None else geometry.to_canonical(centres)
        d = len(shape)
        read_maps = {
            name: read_cells(value, shape, read).reshape(-1).long()
            for name, value in (maps or {}).items()
        }
        return cls(
            fields=rows,
            sample=torch.arange(batch, device=device).repeat_interleave(per_sample),
            coord=coord.reshape(-1, d),
            num_samples=batch,
            frame=frame,
            source=None if source is None else source.repeat_interleave(per_sample),
            label=read_maps.pop("label", None),
            regions=dict(read_maps),
            valid=None if valid is None else read_cells(valid, shape, read).reshape(-1).bool(),
            cell=cell_edges(geometry, shape, size, centres).reshape(-1, d, d),
            span=span,
            grid=Grid(shape, grid_matrix(geometry, shape, size, batch, device)),
        )

    @classmethod
    def from_view(
        cls, fields: dict[str, Tensor], batch: ViewBatch, *, read: str = "centre"
    ) -> PointSet:
        """``from_map`` with size, geometry, ids, maps and validity taken from the view.

        The frame is named after the frame of the clip, so pairing frame 0 with frame 1 of a video
        by distance is refused: their pixels mean different places.

        Raises:
            ValueError: the views of the batch show different frames of their clips.
        """
        frames = batch.frame.unique().tolist()
        if len(frames) > 1:
            raise ValueError(f"one point set needs one frame of the clips, got frames {frames}")
        return cls.from_map(
            fields,
            geometry=batch.geometry,
            size=batch.size,
            source=batch.source,
            valid=batch.valid,
            maps=batch.maps,
            read=read,
            frame=image_frame(frames[0] if frames else 0),
            span=batch.source_size.flip(1).to(torch.float32),
        )

    def to_map(self, value: str | Tensor) -> Tensor:
        """A field, or any (N,) or (N, D) tensor of rows, as a map: (B, h, w) or (B, D, h, w).

        Raises:
            ValueError: the rows are no longer those of a map.
        """
        if self.grid is None:
            raise ValueError("to_map needs the rows of from_map, in order and complete")
        rows = self.fields[value] if isinstance(value, str) else value
        if rows.shape[0] != len(self):
            raise ValueError(f"value has {rows.shape[0]} rows, the point set {len(self)}")
        out = rows.reshape(self.num_samples, *self.grid.shape, *rows.shape[1:])
        return out.movedim(-1, 1) if rows.ndim == 2 else out

    def with_fields(self, **new: Tensor) -> PointSet:
        """The same rows with fields added or replaced."""
        return replace(self, fields={**self.fields, **new})

    def select(self, rows: Tensor) -> PointSet:
        """The rows of a (N,) bool mask or the rows of an int64 index, in that order.

        Soft regions are renumbered; a repeated index repeats their weights.
        """
        from densecl.pairs.rows import select_rows

        return select_rows(self, rows)

    @classmethod
    def cat(cls, sets: Sequence[PointSet], *, same_samples: bool = False) -> PointSet:
        """Stack the rows of several sets.

        Args:
            sets: at least one; same frame, same field and region names, same optional attributes.
            same_samples: False numbers the samples of each set after those of the one before;
                True keeps them, for two views of the same samples.

        Raises:
            ValueError: the sets do not fit together.
        """
        from densecl.pairs.rows import cat_rows

        return cat_rows(sets, same_samples=same_samples)

    def to(self, device: torch.device | str) -> PointSet:
        """The same rows on ``device``."""
        moved: dict[str, Any] = {
            item.name: value.to(device)
            for item in fields(self)
            if isinstance(value := getattr(self, item.name), Tensor)
        }
        grid = self.grid
        if grid is not None and grid.matrix is not None:
            grid = Grid(grid.shape, grid.matrix.to(device))
        return replace(
            self,
            **moved,
            fields={name: value.to(device) for name, value in self.fields.items()},
            regions={name: value.to(device) for name, value in self.regions.items()},
            grid=grid,
        )


def image_frame(frame: int) -> tuple[str, str]:
    """Name and unit of the pixels of frame ``frame`` of a clip; frame 0 is ``image``."""
    return IMAGE_PIXELS if frame == 0 else (f"image@{frame}", "px")


def same_frame(a: PointSet, b: PointSet) -> None:
    """Refuse two sets whose coordinates do not mean the same.

    Raises:
        ValueError: names or units of the frames differ.
    """
    if a.frame != b.frame:
        raise ValueError(f"coordinates live in different frames: {a.frame} and {b.frame}")


def same_samples(a: PointSet, b: PointSet) -> None:
    """Refuse two sets that do not hold the same samples.

    Raises:
        ValueError: the numbers of samples differ.
    """
    if a.num_samples != b.num_samples:
        raise ValueError(f"num_samples differ: {a.num_samples} and {b.num_samples}")
    if a.device != b.device:
        raise ValueError(f"the sets are on {a.device} and {b.device}")
