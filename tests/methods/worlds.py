"""Small batches of views for the tests of methods."""

from __future__ import annotations

import torch

from densecl.views.geometry import Affine
from densecl.views.view import ViewBatch

TINY = {"type": "ResNet", "depth": 18, "width": 8, "strides": (1, 2, 2, 1)}


def random_views(
    batch: int,
    size: int = 32,
    *,
    seed: int = 0,
    num_views: int = 2,
    sources: list[int] | None = None,
) -> list[ViewBatch]:
    """Views of noise, float and normalised, each showing its whole source."""
    generator = torch.Generator().manual_seed(seed)
    whole = Affine.from_crop((0, 0, size, size), (size, size))
    return [
        ViewBatch(
            image=torch.randn(batch, 3, size, size, generator=generator),
            geometry=Affine.stack([whole] * batch),
            source=torch.tensor(sources if sources is not None else list(range(batch))),
            frame=torch.zeros(batch, dtype=torch.int64),
            source_size=torch.full((batch, 2), size),
        )
        for _ in range(num_views)
    ]
