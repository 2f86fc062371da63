"""Small batches of views for the tests of methods."""

from __future__ import annotations

import torch

from densecl.methods import MethodOutput, MoCoV2
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


def train_step(method: MoCoV2, views: list[ViewBatch], step: int) -> MethodOutput:
    """One step of plain gradient descent on the online branch, then ``after_step``."""
    output = method(views)
    sum(output.losses.values()).backward()
    with torch.no_grad():
        for parameter in method.online.parameters():
            if parameter.grad is not None:
                parameter -= 0.1 * parameter.grad
                parameter.grad = None
    method.after_step(step)
    return output
