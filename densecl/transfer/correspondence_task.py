"""Correspondence recall as a run of a table: nothing is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from densecl.data.sample import Sample
from densecl.errors import UsageError
from densecl.transfer.columns import Column
from densecl.transfer.correspondence import (
    Recall,
    Tally,
    cell_targets,
    shifted_frames,
    view_targets,
)
from densecl.transfer.features import FrozenInput
from densecl.transfer.initialisation import Init
from densecl.transfer.propagation.video import resize_frame
from densecl.transfer.restride import restrided
from densecl.transfer.selection import Selection
from densecl.transfer.untrained import Restored, Untrained
from densecl.views import ViewGenerator

Size = tuple[int, int]
RADII = (1.0, 2.0)
"""In cells, from the centre of the match to the exact place."""


@dataclass(frozen=True)
class Scenery:
    """Two pictures that show the same.

    Attributes:
        images: (H, W, 3) uint8 RGB each.
        targets: from the (h, w) of both feature maps to where the cells of the first lie in the
            second, and which of them do; see ``cell_targets``.
    """

    images: tuple[np.ndarray, np.ndarray]
    targets: Callable[[Size, Size], tuple[Tensor, Tensor]]


class SceneryPairs(Selection[Scenery]):
    """Pairs of pictures from the samples of a data set, as ``read_pair`` makes them."""

    what = "pair of pictures"

    def __init__(
        self,
        dataset: Any,
        indices: Sequence[int] | None,
        read_pair: Callable[[Sample], Scenery],
    ) -> None:
        super().__init__(dataset, indices)
        self._read_pair = read_pair

    def read(self, index: int) -> Scenery:
        """The pair of one sample."""
        return self._read_pair(self.dataset[index])

    def size_of(self, item: Scenery) -> int:
        """Bytes of both pictures; the targets are about as large again."""
        return 2 * sum(image.nbytes for image in item.images)


@dataclass(frozen=True)
class CorrespondenceSpec(Untrained):
    """Everything that decides the run but weights, images and machine.

    Attributes:
        input: the backbone and its input; ``resize`` is of whole frames.
        other: where the match is looked for: the next ``frame``, by flow, or another augmented
            ``view`` of the same frame, by its geometry.
        stage_strides: strides that the stages of a ResNet get, see ``restrided``; () = its own.
        min_motion: see ``Tally``.
        shift: of frames, in their own pixels; see ``shifted_frames``.
        recipe, view_size, min_overlap: of views, see ``ViewGenerator``.
        draw: seed of the views; the same for every row.
    """

    input: FrozenInput
    other: Literal["frame", "view"] = "frame"
    stage_strides: tuple[int, ...] = ()
    min_motion: float = 0.0
    shift: tuple[int, int] = (0, 0)
    recipe: str | Mapping[str, Any] = "mocov2"
    view_size: tuple[int, int] = (224, 224)
    min_overlap: float = 0.3
    draw: int = 0
    columns: ClassVar[tuple[Column, ...]] = (
        Column("recall_1", "recall at 1 cell"),
        Column("recall_2", "recall at 2 cells"),
        Column("chance_1", "chance at 1", better="none"),
        Column("chance_2", "chance at 2", better="none"),
        Column("still_1", "same place at 1", better="none"),
        Column("still_2", "same place at 2", better="none"),
    )

    def __post_init__(self) -> None:
        for name in ("stage_strides", "shift", "view_size"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.other not in ("frame", "view"):
            raise UsageError(f"correspondence.other = {self.other!r}", needed='"frame" or "view"')
        if min(self.shift) < 0 or self.min_motion < 0:
            raise UsageError(
                f"correspondence.shift = {self.shift}, min_motion = {self.min_motion}",
                needed="0 or more",
            )
        if self.other == "view":
            self._generator()
            if self.input.resize is not None:
                raise UsageError(
                    f"correspondence of views with input.resize = {self.input.resize}",
                    fix="set correspondence.view_size, and leave input.resize out",
                )

    @property
    def backbone(self) -> Mapping[str, Any]:
        """Config of the backbone."""
        return self.input.backbone

    @property
    def crop(self) -> Size | None:
        """Size at which statistics of unlabelled pictures are taken; None = that of the frames."""
        return self.view_size if self.other == "view" else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for hashing and for the table's protocol; without what is not used."""
        values = asdict(self)
        unused = {
            "frame": ("recipe", "view_size", "min_overlap", "draw"),
            "view": ("shift",),
        }
        return {key: v for key, v in values.items() if key not in unused[self.other]}

    def select(self, dataset: Any, indices: Sequence[int] | None = None) -> SceneryPairs:
        """Pairs of pictures from the samples at the indices given."""
        if self.other == "view":
            return SceneryPairs(dataset, indices, partial(_view_pair, self._generator()))
        read = partial(_frame_pair, shift=self.shift, resize=self.input.resize)
        return SceneryPairs(dataset, indices, read)

    def restore(
        self, state: Mapping[str, Tensor], init: Init, *, seed: int, device: str | torch.device
    ) -> Restored:
        """The backbone, with its stages at the strides asked for."""
        return Restored(restrided(self.input.open(init, seed, device), self.stage_strides))

    def score(
        self, trained: Restored, items: SceneryPairs, device: str | torch.device
    ) -> dict[str, Any]:
        """Shares over all cells of all pairs; each pair's own under ``items``.

        Raises:
            UsageError: no cell can be matched.
        """
        tally = Tally(RADII, self.min_motion)
        found: dict[str, dict[str, float]] = {}
        for position in range(len(items)):
            pair = items[position]
            first, second = (self.input.maps(trained.backbone, image)[0] for image in pair.images)
            sizes = [(each.shape[1], each.shape[2]) for each in (first, second)]
            own = tally.add(first, second, *pair.targets(sizes[0], sizes[1]))
            if own.queries:
                found[items.name(position)] = {**_named(own), "cells": own.queries}
        if not tally.queries:
            raise UsageError(
                f"none of {len(items)} pairs of pictures has a cell to match",
                needed="ground that both show, or that moves, if correspondence.min_motion asks",
                fix="lower min_motion, shift or raise min_overlap",
            )
        return {**_named(tally.recall()), "cells": tally.queries, "items": found}

    def pictures(
        self, trained: Mapping[str, Restored], items: SceneryPairs, device: str | torch.device
    ) -> dict[str, np.ndarray]:
        """Some pairs of pictures, and which cells each row finds again."""
        from densecl.transfer.correspondence_pictures import match_figures

        return match_figures(self, trained, items)

    def _generator(self) -> ViewGenerator:
        return ViewGenerator(
            self.recipe,
            self.view_size,
            num_views=2,
            seed=self.draw,
            min_overlap=self.min_overlap,
        )


def _named(recall: Recall) -> dict[str, float]:
    shares = {"recall": recall.recall, "chance": recall.chance, "still": recall.still}
    return {f"{name}_{r:g}": share[r] for name, share in shares.items() for r in RADII}


def _frame_pair(sample: Sample, *, shift: tuple[int, int], resize: Size | None) -> Scenery:
    """Two frames, cut as ``shift`` says, then resized as the whole frame would be.

    Raises:
        UsageError: no second frame, or no flow.
    """
    try:
        images, flow = shifted_frames(sample, shift)
    except ValueError as error:
        raise UsageError(
            str(error),
            fix="use clips with flow, such as Streets with clip_length=2; or other='view'",
        ) from error
    if 0 in images[0].shape:
        raise UsageError(
            f"{sample.name}: shift = {shift} leaves nothing", needed="less than the frame's size"
        )
    if resize is not None:
        whole = sample.frames[0].image.shape[:2]
        height, width = (
            max(1, round(cut * new / old))
            for cut, new, old in zip(images[0].shape[:2], resize, whole, strict=True)
        )
        first, second = (resize_frame(image, (height, width)) for image in images)
        images = first, second

    def targets(size: Size, other: Size) -> tuple[Tensor, Tensor]:
        assert size == other
        return cell_targets(flow, size)

    return Scenery((np.ascontiguousarray(images[0]), np.ascontiguousarray(images[1])), targets)


def _view_pair(generator: ViewGenerator, sample: Sample) -> Scenery:
    """Two views of the first frame."""
    still = Sample(sample.frames[:1], sample.source, sample.name)
    first, second = generator(still, epoch=0)
    images = [view.image.permute(1, 2, 0).contiguous().numpy() for view in (first, second)]
    return Scenery((images[0], images[1]), partial(view_targets, first, second))
