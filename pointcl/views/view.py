"""A view of a cloud: augmented points together with the map back and the rows they came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from densecl.errors import UsageError
from densecl.pairs.point_set import PointSet
from densecl.views.geometry import Affine
from pointcl.sparse.points import SCAN_METRES
from pointcl.sparse.tensor import SparseTensor, same_sites
from pointcl.sparse.voxelise import Voxels

Frame = tuple[str, str]
"""Name and unit of the coordinates that ``to_canonical`` leads to."""


@dataclass
class CloudView:
    """One augmented cloud of one sample.

    Attributes:
        points: (N, 3) float32 metres, augmented.
        index: (N,) int64, row of each point in the scan as it was read.
        geometry: maps view coordinates (x, y, z) to the canonical frame. It is exact for the
            points, or for ``rigid`` where points were also moved one by one.
        source: id of the scan.
        scan: number of the scan within the sample.
        name: of the scan, for messages.
        frame: name and unit of the canonical frame.
        rigid: (N, 3) float32, the points before jitter and elastic distortion, which no map takes
            back; None where there was neither.
        fields: name -> (N, D) float32: "intensity" (N, 1), "colour" (N, 3) in [0, 1], "normal".
        label: (N,) int64, 255 = ignore, or None.
        instance: (N,) int64, -1 = none, or None.
        regions: name -> (N,) int64, -1 = none.
    """

    points: Tensor
    index: Tensor
    geometry: Affine
    source: int
    scan: int = 0
    name: str = ""
    frame: Frame = SCAN_METRES
    rigid: Tensor | None = None
    fields: dict[str, Tensor] = field(default_factory=dict)
    label: Tensor | None = None
    instance: Tensor | None = None
    regions: dict[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.points.shape[0]

    def canonical(self) -> Tensor:
        """(N, 3) metres in the canonical frame, whatever the augmentation did."""
        return self.geometry.to_canonical(self.points if self.rigid is None else self.rigid)


@dataclass
class CloudBatch:
    """The same view slot of B samples, their points one after the other; nothing is padded.

    Attributes:
        points: (N, 3) float32, rows of all clouds.
        index: (N,) int64, row of each point in its scan.
        sample: (N,) int64, cloud of each point, sorted.
        counts: B numbers of points; 0 is legal.
        geometry: (B, 3, 4) maps to the canonical frames.
        source: (B,) int64 ids of the scans.
        scan: (B,) int64 numbers of the scans within their samples.
        names: B names.
        frame: name and unit of the canonical frame.
        rigid: (N, 3) or None, as in ``CloudView``.
        fields: name -> (N, D) float32.
        label, instance: (N,) int64 or None.
        regions: name -> (N,) int64; ids count within a scan.
    """

    points: Tensor
    index: Tensor
    sample: Tensor
    counts: tuple[int, ...]
    geometry: Affine
    source: Tensor
    scan: Tensor
    names: tuple[str, ...]
    frame: Frame = SCAN_METRES
    rigid: Tensor | None = None
    fields: dict[str, Tensor] = field(default_factory=dict)
    label: Tensor | None = None
    instance: Tensor | None = None
    regions: dict[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.counts)

    @classmethod
    def collate(cls, views: Sequence[CloudView]) -> CloudBatch:
        """Join B views.

        Raises:
            ValueError: no views.
            UsageError: frames, names of fields or regions, or the presence of labels or instances
                differ.
        """
        if not views:
            raise ValueError("cannot collate an empty list of views")
        first = views[0]
        for view in views[1:]:
            for what in ("frame", "fields", "regions", "label", "instance"):
                ours, theirs = _form(getattr(first, what)), _form(getattr(view, what))
                if ours != theirs:
                    raise UsageError(
                        f"{what} of {first.name!r} and {view.name!r} differ: {ours} and {theirs}",
                        needed="the same for all scans of a run",
                        fix="keep scans that carry the same together, or name their columns",
                    )
        counts = tuple(len(view) for view in views)
        return cls(
            points=torch.cat([view.points for view in views]),
            index=torch.cat([view.index for view in views]),
            sample=torch.arange(len(views)).repeat_interleave(torch.tensor(counts)),
            counts=counts,
            geometry=Affine.stack([view.geometry for view in views]),
            source=torch.tensor([view.source for view in views]),
            scan=torch.tensor([view.scan for view in views]),
            names=tuple(view.name for view in views),
            frame=first.frame,
            rigid=_cat_rigid(views),
            fields={name: torch.cat([v.fields[name] for v in views]) for name in first.fields},
            label=_cat([view.label for view in views]),
            instance=_cat([view.instance for view in views]),
            regions={name: torch.cat([v.regions[name] for v in views]) for name in first.regions},
        )

    @property
    def clouds(self) -> list[Tensor]:
        """B tensors (N_b, 3), as ``voxelise`` takes them."""
        return list(self.points.split(self.counts))

    def rows_of(self, name: str) -> list[Tensor]:
        """A field, cut into its B clouds: (N_b, D) each."""
        return list(self.fields[name].split(self.counts))

    def canonical(self) -> Tensor:
        """(N, 3) metres in the canonical frame of each sample."""
        at = self.points if self.rigid is None else self.rigid
        matrix = self.geometry.matrix.index_select(0, self.sample)
        # element by element, as Affine: a matrix product may be rounded to half precision
        return (matrix[..., :3] * at.unsqueeze(1)).sum(2) + matrix[..., 3]

    def to_point_set(
        self,
        fields: Mapping[str, Tensor | SparseTensor] | None = None,
        voxels: Voxels | None = None,
    ) -> PointSet:
        """Points, or voxels read at the points that stand for them, as rows for pairs and losses.

        ``coord`` is canonical, so that two views of a sample can be matched by distance, and
        ``index`` is the row in the scan, so that they can be matched by that.

        Args:
            fields: name -> (N, D) rows of points; with ``voxels`` (M, D) rows of its voxels, or
                sparse tensors at them. None = the batch's own fields, without voxels only.
            voxels: made from ``clouds``; None = the rows are the points.

        Raises:
            ValueError: voxels of other clouds, or a field at other voxels.
        """
        rows = None if voxels is None else self._representatives(voxels)
        given = self.fields if fields is None and voxels is None else fields or {}
        found = {}
        for name, value in given.items():
            if isinstance(value, SparseTensor):
                if voxels is None:
                    raise ValueError(f"fields[{name!r}] is sparse: its voxels are needed too")
                same_sites(value, voxels.tensor)
                value = value.features
            found[name] = value

        def pick(value: Tensor) -> Tensor:
            return value if rows is None else value.index_select(0, rows)

        sample = pick(self.sample)
        regions = {name: pick(ids) for name, ids in self.regions.items()}
        if self.instance is not None:
            regions.setdefault("instance", pick(self.instance))
        return PointSet(
            fields=found,
            sample=sample,
            coord=pick(self.canonical()),
            num_samples=len(self),
            frame=self.frame,
            source=self.source.index_select(0, sample),
            index=pick(self.index),
            regions=dict(regions),
            label=None if self.label is None else pick(self.label),
        )

    def _representatives(self, voxels: Voxels) -> Tensor:
        if len(voxels.point_to_voxel) != len(self.points):
            raise ValueError(
                f"voxels of {len(voxels.point_to_voxel)} points, the batch has {len(self.points)}"
            )
        start = torch.tensor(self.counts, device=self.points.device)
        start = start.cumsum(0) - start
        return voxels.representative + start[voxels.tensor.sample]

    def to(self, device: torch.device | str, non_blocking: bool = True) -> CloudBatch:
        """The same batch with every tensor on ``device``."""
        moved = self._map(lambda value: value.to(device, non_blocking=non_blocking))
        return replace(moved, geometry=self.geometry.to(device))

    def pin_memory(self) -> CloudBatch:
        """The same batch in page-locked memory; a ``DataLoader`` with ``pin_memory`` calls it."""
        return self._map(lambda value: value.pin_memory())

    def _map(self, change: Callable[[Tensor], Tensor]) -> CloudBatch:
        def perhaps(value: Tensor | None) -> Tensor | None:
            return None if value is None else change(value)

        return replace(
            self,
            points=change(self.points),
            index=change(self.index),
            sample=change(self.sample),
            source=change(self.source),
            scan=change(self.scan),
            rigid=perhaps(self.rigid),
            fields={name: change(value) for name, value in self.fields.items()},
            label=perhaps(self.label),
            instance=perhaps(self.instance),
            regions={name: change(value) for name, value in self.regions.items()},
        )


def collate_clouds(items: Sequence[Sequence[CloudView]]) -> list[CloudBatch]:
    """B lists of V views to V batches of B, for a ``DataLoader``."""
    return [CloudBatch.collate(slot) for slot in zip(*items, strict=True)]


def _form(value: object) -> object:
    """What must agree between views: names, presence, or the value itself."""
    if isinstance(value, dict):
        return sorted(value)
    return "present" if isinstance(value, Tensor) else value


def _cat(values: Sequence[Tensor | None]) -> Tensor | None:
    present = [value for value in values if value is not None]
    return torch.cat(present) if present else None


def _cat_rigid(views: Sequence[CloudView]) -> Tensor | None:
    if all(view.rigid is None for view in views):
        return None
    return torch.cat([view.points if view.rigid is None else view.rigid for view in views])
