"""The pictures that are measured, and two augmented views of each as rows of features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from densecl.data.sample import Sample
from densecl.pairs import PointSet
from densecl.pairs.maps import cell_centres
from densecl.transfer.measures.matching import FEATURES
from densecl.transfer.selection import Selection
from densecl.views.generator import ViewGenerator
from densecl.views.view import ViewBatch

if TYPE_CHECKING:
    from densecl.transfer.features import FrozenInput


class Pictures(Selection[Sample]):
    """The samples of a data set at the indices given; labels are kept where there are any."""

    what = "picture"

    def read(self, index: int) -> Sample:
        """The sample as the data set gives it."""
        return self.dataset[index]

    def size_of(self, item: Sample) -> int:
        """Bytes of its frames and their maps."""
        return sum(
            frame.image.nbytes + sum(each.nbytes for each in frame.maps.values())
            for frame in item.frames
        )


def evenly(count: int, most: int) -> list[int]:
    """At most ``most`` positions of ``count``, evenly spread, each once."""
    return sorted({int(p) for p in np.linspace(0, count - 1, min(most, count)).round()})


def two_views(
    reading: FrozenInput,
    backbone: nn.Module,
    pictures: Pictures,
    positions: Sequence[int],
    generator: ViewGenerator,
) -> tuple[PointSet, PointSet]:
    """Rows of the features of two views of each picture, on the CPU.

    Sample b of both sets is the picture at ``positions[b]``; labels and regions are carried along
    where the pictures have them.
    """
    pairs = [generator(pictures[position], epoch=0) for position in positions]
    sets = []
    for side in (0, 1):
        batch = ViewBatch.collate([views[side] for views in pairs])
        images = batch.image.permute(0, 2, 3, 1).numpy()
        maps = [
            reading.maps(backbone, images[start : start + reading.batch]).cpu()
            for start in range(0, len(images), reading.batch)
        ]
        sets.append(PointSet.from_view({FEATURES: torch.cat(maps)}, batch))
    return sets[0], sets[1]


def cell_places(points: PointSet) -> Tensor:
    """(N, 2) place (x, y) of each cell in its own view, in shares of the view's sides."""
    assert points.grid is not None
    h, w = points.grid.shape
    return cell_centres((h, w), (1, 1)).repeat(points.num_samples, 1)
