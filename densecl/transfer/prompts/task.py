"""Prompted segmentation and the separation of objects as a run of a table: nothing is trained."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from densecl.errors import UsageError
from densecl.transfer.columns import Column
from densecl.transfer.features import FrozenInput
from densecl.transfer.initialisation import Init
from densecl.transfer.prompts.scenes import Scenes
from densecl.transfer.prompts.segment import (
    Prompted,
    cross_fitted,
    large_objects,
    prompt_objects,
)
from densecl.transfer.prompts.separation import ImagePairs, image_pairs, separation
from densecl.transfer.restride import restrided
from densecl.transfer.untrained import Untrained

FIXED = 0.5
"""The threshold that needs no choice."""
SMALL, LARGE = 32**2 / (640 * 480), 96**2 / (640 * 480)
"""Shares of the picture below and from which an object counts as small and as large: those of
COCO's areas in a picture of its usual size."""


@dataclass(frozen=True)
class Prompter:
    """A frozen backbone, and the threshold that was best on what it was scored on."""

    backbone: nn.Module
    threshold: float

    def state_dict(self) -> dict[str, Tensor]:
        """The threshold; the backbone is where it came from."""
        return {"threshold": torch.tensor(self.threshold)}


@dataclass
class _Found:
    """What was measured on all images, in their order."""

    objects: list[Prompted]
    image: list[int]
    label: list[int | None]
    pairs: list[ImagePairs]
    shuffled: list[ImagePairs]
    skipped: int = 0


@dataclass(frozen=True)
class PromptSpec(Untrained):
    """Everything that decides the run but weights, images and machine.

    Attributes:
        input: the backbone and its input. Cells should be a good deal smaller than the objects.
        stage_strides: strides that the stages of a ResNet get, see ``restrided``; () = its own.
        step: of the grid of thresholds from 0 to 1.
        prompts: random points an object, beside its deepest one.
        min_cells: objects that cover less area than so many cells are skipped and counted.
        void: see ``Scenes``.
        draw: seed of the random points; the same for every row.
    """

    input: FrozenInput
    stage_strides: tuple[int, ...] = ()
    step: float = 0.02
    prompts: int = 5
    min_cells: float = 1.0
    void: bool = True
    draw: int = 0
    columns: ClassVar[tuple[Column, ...]] = (
        Column("iou", "IoU"),
        Column("iou_random", "IoU, random points"),
        Column("iou_fixed", f"IoU at {FIXED}"),
        Column("iou_oracle", "IoU, best threshold an object (upper bound)", better="none"),
        Column("auroc", "AUROC"),
        Column("same", "same object, AUROC"),
        Column("matched", "same object, equal distances"),
        Column("shuffled", "same object, masks of another image", better="none"),
        Column("dprime", "d'", digits=2),
        Column("ovl", "overlap", better="lower"),
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "stage_strides", tuple(self.stage_strides))
        if not 0 < self.step <= FIXED:
            raise UsageError(f"prompts.step = {self.step}", needed=f"above 0, at most {FIXED}")
        if self.prompts < 1 or not self.min_cells > 0:
            raise UsageError(
                f"prompts.prompts = {self.prompts}, prompts.min_cells = {self.min_cells}",
                needed="1 random point or more, and objects of some area",
            )

    @property
    def backbone(self) -> Mapping[str, Any]:
        """Config of the backbone."""
        return self.input.backbone

    @property
    def thresholds(self) -> np.ndarray:
        """(K,) ascending, 0 and 1 among them."""
        return np.linspace(0, 1, round(1 / self.step) + 1)

    def select(self, dataset: Any, indices: Sequence[int] | None = None) -> Scenes:
        """The images of a data set at the indices given."""
        return Scenes(dataset, indices, resize=self.input.resize, void=self.void)

    def run(
        self,
        init: Init,
        train: Any,
        evaluation: Scenes,
        *,
        seed: int,
        device: str | torch.device,
    ) -> tuple[dict[str, Any], Prompter]:
        """Score; ``train`` is not read, ``seed`` is of random weights only."""
        began = time.perf_counter()
        prompter = self.restore({}, init, seed=seed, device=device)
        result = self.score(prompter, evaluation, device)
        seconds = {"evaluate": time.perf_counter() - began}
        trained = Prompter(prompter.backbone, result["threshold"])
        return {**result, "seconds": seconds, "feature_difference": 0.0, "diverged": False}, trained

    def restore(
        self, state: Mapping[str, Tensor], init: Init, *, seed: int, device: str | torch.device
    ) -> Prompter:
        """The backbone, with its stages at the strides asked for, and the threshold if known."""
        backbone = restrided(self.input.open(init, seed, device), self.stage_strides)
        return Prompter(backbone, float(state["threshold"]) if "threshold" in state else FIXED)

    def score(self, trained: Prompter, items: Scenes, device: str | torch.device) -> dict[str, Any]:
        """Means over objects of the segmentation, over images of the separation.

        The threshold of ``iou`` is chosen on the first half of the images for the objects of the
        second and the other way round, so that neighbours in the data set stay on one side.

        Raises:
            UsageError: fewer than two images, or a half of them, with an object.
        """
        found = self._measure(trained.backbone, items)
        half = np.array(found.image) * 2 >= len(items)
        if not len(half) or half.all() or not half.any():
            raise UsageError(
                f"{len(found.objects)} objects in {len(set(found.image))} of {len(items)} images",
                needed="an object in each half of the images: one chooses the other's threshold",
                fix="take more images, or lower prompts.min_cells",
            )
        thresholds = self.thresholds
        centre = np.stack([each.centre for each in found.objects])
        random = np.stack([each.random for each in found.objects])
        ranked = np.array([each.auroc for each in found.objects])
        fixed = int(np.abs(thresholds - FIXED).argmin())
        own = cross_fitted(centre, half)
        per_object = {
            "iou": own,
            "iou_random": cross_fitted(random, half),
            "iou_fixed": centre[:, fixed],
            "iou_oracle": centre.max(1),
            "auroc": ranked,
        }
        apart = separation(found.pairs)
        return {
            **{key: _mean(values) for key, values in per_object.items()},
            **{key: apart[key] for key in ("same", "matched", "dprime", "ovl")},
            "shuffled": separation(found.shuffled)["same"],
            "within": apart["within"],
            "between": apart["between"],
            "threshold": float(thresholds[centre.mean(0).argmax()]),
            "objects": len(found.objects),
            "objects_too_small": found.skipped,
            "images_compared": len(found.pairs),
            "by_class": _by_class(own, found.label, getattr(items.dataset, "classes", None)),
            "by_size": _by_size(own, np.array([each.area for each in found.objects])),
            "items": _by_image(per_object, found.image, items),
            "curves": {
                "deepest point": _curve(thresholds, centre.mean(0)),
                "random points": _curve(thresholds, random.mean(0)),
            },
        }

    def pictures(
        self, trained: Mapping[str, Prompter], items: Scenes, device: str | torch.device
    ) -> dict[str, np.ndarray]:
        """A few objects of some images: the point, and each row's similarity and mask."""
        from densecl.transfer.prompts.pictures import prompt_figures

        return prompt_figures(self, trained, items)

    def _measure(self, backbone: nn.Module, items: Scenes) -> _Found:
        found = _Found([], [], [], [], [])
        for position in range(len(items)):
            scene = items[position]
            features = self.input.maps(backbone, scene.image)[0]
            grid = (features.shape[1], features.shape[2])
            objects, coverage = large_objects(scene.ids, scene.objects, grid, self.min_cells)
            found.skipped += len(scene.objects) - len(objects)
            prompted = prompt_objects(
                features,
                scene.ids,
                objects,
                coverage,
                self.thresholds,
                prompts=self.prompts,
                seed=self.draw,
                source=items.indices[position],
            )
            found.objects += prompted
            found.image += [position] * len(prompted)
            found.label += [scene.labels.get(each.number) for each in prompted]
            values = features.cpu().numpy()
            _append(found.pairs, image_pairs(values, coverage))
            if len(items) > 1:
                other = items[(position + 1) % len(items)]
                _, elsewhere = large_objects(other.ids, other.objects, grid, self.min_cells)
                _append(found.shuffled, image_pairs(values, elsewhere))
        return found


def _append(kept: list[ImagePairs], one: ImagePairs | None) -> None:
    if one is not None:
        kept.append(one)


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def _curve(thresholds: np.ndarray, iou: np.ndarray) -> dict[str, Any]:
    axes = {"xlabel": "threshold of the cosine", "ylabel": "mean IoU over objects"}
    return {"x": thresholds.round(6).tolist(), "y": iou.tolist(), **axes}


def _by_class(
    iou: np.ndarray, labels: Sequence[int | None], classes: Sequence[str] | None
) -> dict[str, dict[str, float]]:
    """Class name -> mean IoU and number of objects; empty where there are no classes."""
    groups: defaultdict[int, list[float]] = defaultdict(list)
    for value, label in zip(iou.tolist(), labels, strict=True):
        if label is not None:
            groups[label].append(value)
    return {
        str(label) if classes is None or label >= len(classes) else classes[label]: {
            "iou": math.fsum(values) / len(values),
            "objects": len(values),
        }
        for label, values in sorted(groups.items())
    }


def _by_size(iou: np.ndarray, area: np.ndarray) -> dict[str, dict[str, float]]:
    small, large = area < SMALL, area >= LARGE
    sizes = {"small": small, "medium": ~small & ~large, "large": large}
    return {
        name: {"iou": float(iou[chosen].mean()), "objects": int(chosen.sum())}
        for name, chosen in sizes.items()
        if chosen.any()
    }


def _by_image(
    per_object: Mapping[str, np.ndarray], image: Sequence[int], items: Scenes
) -> dict[str, dict[str, float]]:
    places = np.array(image)
    return {
        items.name(position): {
            **{key: _mean(values[places == position]) for key, values in per_object.items()},
            "objects": int((places == position).sum()),
        }
        for position in sorted(set(image))
    }
