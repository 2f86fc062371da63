"""Small batches of views for the tests of methods."""

from __future__ import annotations

from dataclasses import replace

import torch

from densecl.methods import MethodOutput, MoCoV2
from densecl.views.geometry import Affine
from densecl.views.view import ViewBatch

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
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


def normalised(view: ViewBatch) -> ViewBatch:
    """A batch of the loader as methods get it: float, standardised."""
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    return replace(view, image=(view.image.float() - mean) / std)


def train_step(
    method: MoCoV2,
    views: list[ViewBatch],
    step: int,
    optimizer: torch.optim.Optimizer | None = None,
) -> MethodOutput:
    """One step of an optimiser (default: plain gradient descent), then ``after_step``."""
    optimizer = optimizer or torch.optim.SGD(method.online.parameters(), lr=0.1)
    method.train()
    output = method(views)
    optimizer.zero_grad()
    sum(output.losses.values()).backward()
    optimizer.step()
    method.after_step(step)
    return output
