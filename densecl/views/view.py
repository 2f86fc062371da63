"""A view: augmented pixels together with the map back to the frame they came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from densecl.views.geometry import Geometry


@dataclass
class View:
    """One augmented image of one sample.

    Attributes:
        image: (3, H, W) uint8, RGB.
        geometry: maps view pixels (x, y), half-pixel centres, to the source frame's pixels.
        source: id of the sample this view was cut from.
        frame: index of the frame in the sample (0 for still images).
        source_size: (H, W) of the source frame in pixels.
        valid: (H, W) bool or None (= all valid); False where the view shows padding.
        maps: name -> (H, W) int64, carried along by nearest neighbour.
        flow: (H, W, 2) float32 or None: for each view pixel the displacement, in source pixels,
            from its canonical position to the next frame of the sample; NaN = none.
    """

    image: Tensor
    geometry: Geometry
    source: int
    source_size: tuple[int, int]
    frame: int = 0
    valid: Tensor | None = None
    maps: dict[str, Tensor] = field(default_factory=dict)
    flow: Tensor | None = None


@dataclass
class ViewBatch:
    """The same view slot of B samples; every field is the stacked field of ``View``.

    Attributes:
        image: (B, 3, H, W), uint8 from the loader, float once normalised.
        geometry: batched, ``to_canonical`` takes (B, N, 2).
        source, frame: (B,) int64.
        source_size: (B, 2) int64, (H, W).
        valid: (B, H, W) bool or None.
        maps: name -> (B, H, W) int64.
        flow: (B, H, W, 2) float32 or None.
    """

    image: Tensor
    geometry: Geometry
    source: Tensor
    frame: Tensor
    source_size: Tensor
    valid: Tensor | None = None
    maps: dict[str, Tensor] = field(default_factory=dict)
    flow: Tensor | None = None

    def __len__(self) -> int:
        return self.image.shape[0]

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the view."""
        return int(self.image.shape[-2]), int(self.image.shape[-1])

    @classmethod
    def collate(cls, views: Sequence[View]) -> ViewBatch:
        """Stack B views of equal size.

        Raises:
            ValueError: no views, or sizes, map names or the presence of flow differ.
        """
        if not views:
            raise ValueError("cannot collate an empty list of views")
        first = views[0]
        for view in views[1:]:
            if view.image.shape != first.image.shape:
                raise ValueError(f"view sizes differ: {view.image.shape} and {first.image.shape}")
            if view.maps.keys() != first.maps.keys():
                raise ValueError(f"map names differ: {set(view.maps)} and {set(first.maps)}")
            if (view.flow is None) != (first.flow is None):
                raise ValueError("some views carry flow and some do not")
        valid = None
        if any(view.valid is not None for view in views):
            everywhere = torch.ones(first.image.shape[-2:], dtype=torch.bool)
            valid = torch.stack([everywhere if v.valid is None else v.valid for v in views])
        return cls(
            image=torch.stack([v.image for v in views]),
            geometry=type(first.geometry).stack([v.geometry for v in views]),
            source=torch.tensor([v.source for v in views]),
            frame=torch.tensor([v.frame for v in views]),
            source_size=torch.tensor([v.source_size for v in views]),
            valid=valid,
            maps={name: torch.stack([v.maps[name] for v in views]) for name in first.maps},
            flow=None if first.flow is None else torch.stack([v.flow for v in views]),  # type: ignore[misc]
        )

    def to(self, device: torch.device | str, non_blocking: bool = True) -> ViewBatch:
        """The same batch with every tensor on ``device``."""

        def move(value: Tensor | None) -> Tensor | None:
            return None if value is None else value.to(device, non_blocking=non_blocking)

        return replace(
            self,
            image=self.image.to(device, non_blocking=non_blocking),
            geometry=self.geometry.to(device),
            source=self.source.to(device),
            frame=self.frame.to(device),
            source_size=self.source_size.to(device),
            valid=move(self.valid),
            maps={k: v.to(device, non_blocking=non_blocking) for k, v in self.maps.items()},
            flow=move(self.flow),
        )
