from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from densecl.pairs import PointSet
from densecl.views.geometry import Affine


@pytest.fixture
def gen() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def make_map() -> Callable[..., PointSet]:
    """A point set of crops: boxes in source pixels, one per sample."""

    def build(boxes, shape=(7, 7), size=(56, 56), flips=None, seed=0, **options) -> PointSet:
        generator = torch.Generator().manual_seed(seed)
        flips = flips or [False] * len(boxes)
        geometry = Affine.stack(
            [
                Affine.from_crop(box, size, hflip=flip)
                for box, flip in zip(boxes, flips, strict=True)
            ]
        )
        features = torch.randn(len(boxes), 6, *shape, generator=generator)
        options.setdefault("source", torch.arange(len(boxes)) + 100)
        return PointSet.from_map({"f": features}, geometry=geometry, size=size, **options)

    return build


@pytest.fixture
def shuffled() -> Callable[[PointSet, int], tuple[PointSet, torch.Tensor]]:
    """The same rows as an unordered list, and the place that each row went to."""

    def shuffle(points: PointSet, seed: int = 0) -> tuple[PointSet, torch.Tensor]:
        order = torch.randperm(len(points), generator=torch.Generator().manual_seed(seed))
        return points.select(order), torch.argsort(order)

    return shuffle


@pytest.fixture
def ragged() -> Callable[..., PointSet]:
    """Unordered rows of samples of very different length; sample 1 has none."""

    def build(seed=0, n=40, d=2, samples=4, dim=5) -> PointSet:
        g = torch.Generator().manual_seed(seed)
        sample = torch.randint(0, samples, (n,), generator=g)
        sample[sample == 1] = 0
        return PointSet(
            fields={"f": torch.randn(n, dim, generator=g)},
            sample=sample,
            num_samples=samples,
            coord=torch.rand(n, d, generator=g) * 10,
            cell=torch.diag_embed(torch.rand(n, d, generator=g) + 0.5),
            valid=torch.rand(n, generator=g) < 0.8,
            source=sample + 10,
            index=torch.randint(-1, 15, (n,), generator=g),
            label=torch.randint(0, 4, (n,), generator=g),
            regions={
                "region": torch.randint(-1, 4, (n,), generator=g),
                "tree": torch.randint(-1, 3, (n, 2), generator=g),
            },
        )

    return build
