"""Label propagation through videos as a run of a table: nothing is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from densecl.data.davis import BACKGROUND
from densecl.errors import UsageError
from densecl.transfer.columns import Column
from densecl.transfer.features import FrozenInput
from densecl.transfer.initialisation import Init
from densecl.transfer.propagation.affinity import Neighbourhood
from densecl.transfer.propagation.clips import Clip, Clips
from densecl.transfer.propagation.scores import score_video
from densecl.transfer.propagation.video import Context, first_labels, propagate_video, to_masks
from densecl.transfer.restride import restrided
from densecl.transfer.untrained import Restored, Untrained

_VFS = {
    "short_side": 480,
    "long_multiple": 1,
    "stage_strides": (1, 2, 1, 2),
    "stride": 8,
    "context": 20,
    "first": True,
    "first_twice": True,
    "top_k": 10,
    "temperature": 0.07,
    "neighbourhood": "circle",
}
PRESETS: Mapping[str, Mapping[str, Any]] = {
    # Xu & Wang 2021: res4 at stride 8; strict circles of 12 and 18 cells
    "vfs-r18": {**_VFS, "radius": 12.0},
    "vfs-r50": {**_VFS, "radius": 18.0},
    # Caron et al. 2021: the backbone as it is, a square of 12 cells to each side
    "dino": {
        "short_side": 480,
        "long_multiple": 64,
        "stage_strides": (),
        "stride": None,
        "context": 7,
        "first": True,
        "first_twice": False,
        "top_k": 5,
        "temperature": 0.1,
        "neighbourhood": "square",
        "radius": 12.0,
    },
}
"""Published settings by name."""
_OF_PRESET: Any = "of the preset"


@dataclass(frozen=True)
class PropagationSpec(Untrained):
    """Everything that decides a propagation but weights, videos and machine.

    Attributes:
        input: the backbone and its input. Its ``resize`` goes before ``short_side``, its
            ``strides`` before ``stride``.
        preset: published settings that fill in every field below which is not given: ``vfs-r18``,
            ``vfs-r50`` or ``dino``. Scores under two of them differ by several points.
        short_side, long_multiple: size of the frames, see ``frame_size``.
        stage_strides: strides that the stages of a ResNet get, see ``restrided``; () = its own.
        stride: of the map whose cells are compared; None = the deepest.
        context: how many frames before a frame label it.
        first, first_twice: whether the first one does too, see ``Context``.
        top_k, temperature: see ``carry_labels``.
        neighbourhood, radius: where a cell looks for its like, see ``Neighbourhood``.
        min_pixels: objects of fewer pixels in the first mask are background.
        max_objects: take the largest so many of a video; None = all.
    """

    input: FrozenInput
    preset: str = "vfs-r18"
    short_side: int | None = _OF_PRESET
    long_multiple: int = _OF_PRESET
    stage_strides: tuple[int, ...] = _OF_PRESET
    stride: int | None = _OF_PRESET
    context: int = _OF_PRESET
    first: bool = _OF_PRESET
    first_twice: bool = _OF_PRESET
    top_k: int = _OF_PRESET
    temperature: float = _OF_PRESET
    neighbourhood: Literal["circle", "square", "all"] = _OF_PRESET
    radius: float = _OF_PRESET
    min_pixels: int = 1
    max_objects: int | None = None
    columns: ClassVar[tuple[Column, ...]] = (
        Column("jf", "J&F"),
        Column("j", "J"),
        Column("f", "F"),
        Column("still", "J&F, first mask kept", better="none"),
    )

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise UsageError(
                f"propagation.preset = {self.preset!r}", needed="one of " + ", ".join(PRESETS)
            )
        for name, value in PRESETS[self.preset].items():
            if getattr(self, name) == _OF_PRESET:
                object.__setattr__(self, name, value)
        object.__setattr__(self, "stage_strides", tuple(self.stage_strides))
        if self.input.strides is None and self.stride is not None:
            object.__setattr__(self, "input", replace(self.input, strides=(self.stride,)))
        self._check()

    def _check(self) -> None:
        least = {"context": 1, "top_k": 1, "min_pixels": 1, "long_multiple": 1}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise UsageError(
                    f"propagation.{name} = {getattr(self, name)}", needed=f"{low} or more"
                )
        if not self.temperature > 0:
            raise UsageError(f"propagation.temperature = {self.temperature}", needed="above 0")
        try:
            self._where()
        except ValueError as error:
            raise UsageError(f"propagation.neighbourhood: {error}") from error

    @property
    def backbone(self) -> Mapping[str, Any]:
        """Config of the backbone."""
        return self.input.backbone

    def to_dict(self) -> dict[str, Any]:
        """Plain values: every setting of the preset, but not its name, which decides nothing."""
        return {key: v for key, v in asdict(self).items() if key not in ("preset", "stride")}

    def select(self, dataset: Any, indices: Sequence[int] | None = None) -> Clips:
        """The videos of a data set at the indices given."""
        return Clips(
            dataset,
            indices,
            resize=self.input.resize,
            short_side=self.short_side,
            long_multiple=self.long_multiple,
        )

    def restore(
        self, state: Mapping[str, Tensor], init: Init, *, seed: int, device: str | torch.device
    ) -> Restored:
        """The backbone, with its stages at the strides asked for."""
        return Restored(restrided(self.input.open(init, seed, device), self.stage_strides))

    def score(self, trained: Restored, items: Clips, device: str | torch.device) -> dict[str, Any]:
        """Means over the objects of all videos; each video's own under ``items``.

        Raises:
            UsageError: no video has an object in its first frame.
        """
        found: dict[str, dict[str, float]] = {}
        rows: list[np.ndarray] = []
        lost = 0
        for position in range(len(items)):
            clip = items[position]
            objects = clip.objects(self.min_pixels, self.max_objects)
            if not objects:
                continue
            predicted, cells = self.masks(trained, clip, objects)
            lost += sum(not count for count in cells)
            still = np.where(np.isin(clip.ids[0], objects), clip.ids[0], BACKGROUND)
            own = [
                np.stack(score_video(ids, clip.ids, objects, clip.void).means)
                for ids in (predicted, np.broadcast_to(still, clip.ids.shape))
            ]
            scores = np.stack([own[0].mean(0), *own[0], own[1].mean(0)])
            rows.append(scores)
            found[items.name(position)] = {**self._named(scores), "objects": len(objects)}
        if not rows:
            raise UsageError(
                f"none of {len(items)} videos has an object in its first frame",
                needed=f"{self.min_pixels} pixels of one",
                fix="lower propagation.min_pixels; masks of DAVIS 2016 need data.edition='2016'",
            )
        return {
            **self._named(np.concatenate(rows, axis=1)),
            "objects": sum(len(scores[0]) for scores in rows),
            "objects_without_a_cell": lost,
            "videos_without_an_object": len(items) - len(rows),
            "items": found,
        }

    def masks(
        self, trained: Restored, clip: Clip, objects: Sequence[int]
    ) -> tuple[np.ndarray, list[int]]:
        """Predicted ids of every frame, and how many cells each object has in the first one.

        Returns:
            (T, H0, W0) int32, -1 background, the first frame's as they were given; (O,) counts.
        """
        stream = self._features(trained.backbone, clip.images)
        head = next(stream)
        labels = first_labels(clip.ids[0], objects, (head.shape[-2], head.shape[-1]))
        context = Context(
            self.context,
            self.top_k,
            self.temperature,
            self._where(),
            self.first,
            self.first_twice,
        )
        size = (clip.ids.shape[1], clip.ids.shape[2])
        first = np.where(np.isin(clip.ids[0], objects), clip.ids[0], BACKGROUND)
        soft = propagate_video(chain([head], stream), labels.to(head.device), context)
        masks = [first, *(to_masks(each, objects, size, BACKGROUND) for each in soft)]
        return np.stack(masks), [int(n) for n in labels[1:].sum((1, 2))]

    def pictures(
        self, trained: Mapping[str, Restored], items: Clips, device: str | torch.device
    ) -> dict[str, np.ndarray]:
        """Four frames of a few videos with the masks of each row below the truth's."""
        from densecl.transfer.propagation.pictures import video_figures

        return video_figures(self, trained, items)

    def _where(self) -> Neighbourhood:
        return Neighbourhood(self.neighbourhood, self.radius)

    def _named(self, scores: np.ndarray) -> dict[str, float]:
        """(4, O) scores as the mean over objects of each column."""
        means = scores.mean(1).tolist()
        return {column.key: mean for column, mean in zip(self.columns, means, strict=True)}

    def _features(self, backbone: nn.Module, images: np.ndarray) -> Iterator[Tensor]:
        for start in range(0, len(images), self.input.batch):
            yield from self.input.maps(backbone, images[start : start + self.input.batch])
