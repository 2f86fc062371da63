"""Fine-tune a segmentor on a few labelled scans: one cell of a transfer table."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from densecl.data.seeding import derive_seed
from densecl.transfer.initialisation import Init
from densecl.transfer.selection import root_weights
from densecl.transfer.training import plain_curve, train_steps
from pointcl.transfer.clouds import LabelledScans, class_counts, training_batch
from pointcl.transfer.evaluation import evaluate
from pointcl.transfer.initialisation import starting_backbone
from pointcl.transfer.segmentation import Segmentor, voxel_loss
from pointcl.views.batch import VoxelBatch

_HEAD, _NOISE = 21, 22  # streams of one seed

VIEWS: dict[str, Any] = {"angle": 180.0, "flip_x": 0.5, "flip_y": 0.5, "scale": (0.95, 1.05)}
"""Turned about z, mirrored, scaled: what does not change a class."""


@dataclass(frozen=True)
class FinetuneSpec:
    """Everything that decides a fine-tuning run but weights, labels and machine.

    Attributes:
        backbone: config of the pretrained backbone.
        voxels: what it reads, see ``pointcl.transfer.clouds.VOXELS``.
        num_classes: L.
        steps, batch_size: length of the run and whole scans per step.
        views: recipe of the training views, fields of ``CloudRecipe``.
        max_voxels: of a training scan; those nearest to a random point stay. None = all.
        loss: ``ce``, or ``ce+lovasz``. A voxel has the label of the point that stands for it.
        class_weights: ``none``, or ``root``: the cross entropy weighs classes by the inverse root
            of their share of the training points, so that rare ones are learned in a short run.
        optimizer, lr, head_lr, weight_decay, momentum, schedule, warmup, grad_clip, curve_every:
            see ``densecl.transfer.training.Optimisation``.
        eval_batch: scans per forward of evaluation.
        ignore: label id without a class.
    """

    backbone: Mapping[str, Any]
    voxels: Mapping[str, Any]
    num_classes: int
    steps: int = 100
    batch_size: int = 4
    views: Mapping[str, Any] = field(default_factory=lambda: dict(VIEWS))
    max_voxels: int | None = None
    loss: Literal["ce", "ce+lovasz"] = "ce"
    class_weights: Literal["none", "root"] = "none"
    optimizer: Literal["sgd", "adamw"] = "adamw"
    lr: float = 0.003
    head_lr: float = 1.0
    weight_decay: float = 0.01
    momentum: float = 0.9
    schedule: Literal["poly", "cosine"] = "cosine"
    warmup: int = 5
    grad_clip: float | None = None
    eval_batch: int = 4
    curve_every: int = 10
    ignore: int = 255

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for hashing and for the table's protocol."""
        return asdict(self)

    def at(self, rate: float, steps: int | None = None) -> FinetuneSpec:
        """The run at one learning rate, and of other length if ``steps`` is given."""
        return replace(self, lr=rate, steps=self.steps if steps is None else steps)

    def select(self, dataset: Any, indices: Sequence[int] | None = None) -> LabelledScans:
        """The scans of a data set at the indices given."""
        return LabelledScans(dataset, indices)

    def run(
        self,
        init: Init,
        train: LabelledScans,
        evaluation: LabelledScans,
        *,
        seed: int,
        device: str | torch.device,
    ) -> tuple[dict[str, Any], Segmentor]:
        """``finetune``."""
        return finetune(self, init, train, evaluation, seed=seed, device=device)

    def restore(
        self, state: Mapping[str, Tensor], init: Init, *, seed: int, device: str | torch.device
    ) -> Segmentor:
        """The trained segmentor from its state dict."""
        segmentor = build_started(self, None, seed)
        segmentor.load_state_dict(state)
        return segmentor.to(device).eval()

    def predict(self, segmentor: Segmentor, batch: VoxelBatch) -> Tensor:
        """(N,) class of each point of a batch."""
        return segmentor.predict(batch.voxels.tensor, batch.voxels.point_to_voxel)

    def score(
        self, segmentor: Segmentor, scans: LabelledScans, device: str | torch.device
    ) -> dict[str, Any]:
        """Scores per point, in evaluation mode; see ``pointcl.transfer.evaluation``."""
        segmentor.train(False)
        with torch.no_grad():
            return evaluate(
                lambda batch: self.predict(segmentor, batch),
                scans,
                num_classes=self.num_classes,
                ignore=self.ignore,
                voxels=self.voxels,
                fallback=segmentor.fallback,
                device=device,
                batch=self.eval_batch,
            )


def build_started(spec: FinetuneSpec, init: Init, seed: int) -> Segmentor:
    """A segmentor with the backbone of ``init`` itself and the head of ``seed``."""
    backbone = starting_backbone(init, spec.backbone, spec.voxels, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, _HEAD))
        return Segmentor(backbone, spec.num_classes)


def finetune(
    spec: FinetuneSpec,
    init: Init,
    train: LabelledScans,
    evaluation: LabelledScans,
    *,
    seed: int = 0,
    device: str | torch.device = "cpu",
    on_step: Callable[[int, float], None] | None = None,
) -> tuple[dict[str, Any], Segmentor]:
    """Train on ``train`` from ``init`` and score on ``evaluation``.

    The head and the views depend on ``seed`` alone, so two calls that differ in ``init`` differ in
    nothing else. The last step's weights are scored: no checkpoint is picked.

    Args:
        spec: the run.
        init: starting weights of the backbone.
        train: labelled scans to learn from.
        evaluation: labelled scans to score on.
        seed: of head, views, and of random weights.
        device: where to run.
        on_step: called with (step, loss) after each step.

    Returns:
        The result as plain values (see ``Task.run``) with the loss ``curve`` and the scores of
        single scans under ``items``, and the trained segmentor, in evaluation mode.

    Raises:
        UsageError: weights that do not fit, scans without labels or without what the voxels carry.
    """
    device = torch.device(device)
    segmentor = build_started(spec, init, seed).to(device)
    counts = class_counts(train, spec.num_classes, spec.ignore)
    weights = None
    if spec.class_weights == "root":
        weights = torch.from_numpy(root_weights(counts)).to(device)

    def loss_of(step: int) -> Tensor:
        batch = training_batch_of(spec, train, seed, step).to(device)
        labels = batch.to_point_set({}).label
        assert labels is not None
        scores = segmentor(batch.voxels.tensor)
        return voxel_loss(scores, labels, loss=spec.loss, weights=weights, ignore=spec.ignore)

    began = time.perf_counter()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(derive_seed(seed, _NOISE))
        curve, diverged = train_steps(segmentor, spec, loss_of, on_step)
    trained = time.perf_counter()
    segmentor.train(False)
    result: dict[str, Any] = {"miou": 0.0, "iou": [None] * spec.num_classes, "items": {}}
    result["confusion"] = np.zeros((spec.num_classes,) * 2, np.int64).tolist()
    if not diverged:
        result = spec.score(segmentor, evaluation, device)
    result |= {
        "curve": plain_curve(curve),
        "seconds": {"train": trained - began, "evaluate": time.perf_counter() - trained},
        # the backbone is the loaded one itself: there is nothing to compare
        "feature_difference": 0.0,
        "diverged": diverged,
    }
    return result, segmentor


def training_batch_of(spec: FinetuneSpec, train: LabelledScans, seed: int, step: int) -> VoxelBatch:
    """The batch of one step of a run."""
    return training_batch(
        train,
        voxels=spec.voxels,
        views=spec.views,
        batch_size=spec.batch_size,
        max_voxels=spec.max_voxels,
        seed=seed,
        step=step,
    )
