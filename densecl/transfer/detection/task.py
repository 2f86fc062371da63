"""Detection as a run of a table: a detector fine-tuned on a share of the labels, scored by AP."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from densecl.transfer.columns import Column
from densecl.transfer.detection.images import BoxedImages
from densecl.transfer.initialisation import Init

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class DetectionSpec:
    """Everything that decides a detection run but weights, labels and machine.

    Training and evaluation run in float32: the losses of boxes are sums over few of many anchors.

    Attributes:
        backbone: config of the pretrained backbone.
        num_classes: L.
        detector: ``retinanet``, ``fcos``, ``faster-rcnn`` or ``deformable-detr``.
        channels, convs, strides, extra_levels, anchor_scale, options: see ``build_detector``.
        steps, batch_size: length of the run and images per step.
        crop: (h, w) of training crops; ``scale`` and ``hflip``: see ``draw_window``.
        resize: (H, W) within which every image is made to fit, its aspect kept, or None. Boxes are
            scored in the images' own pixels.
        visible: least share of a box inside the crop for the detector to be asked for it.
        photometric: colour augmentation, fields of ``densecl.views.photometric.Photometric``.
        optimizer, lr, head_lr, weight_decay, momentum, schedule, warmup, grad_clip, curve_every:
            see ``densecl.transfer.training.Optimisation``.
        mean, std: input normalisation on the 0-255 scale, those of pretraining.
        channel_order: of the backbone's input; data are RGB.
        channels_last: memory layout.
        eval_batch: images per forward of evaluation.
    """

    columns: ClassVar[tuple[Column, ...]] = (
        Column("ap", "AP"),
        Column("ap50", "AP50"),
        Column("ap75", "AP75"),
    )

    backbone: Mapping[str, Any]
    num_classes: int
    detector: Literal["retinanet", "fcos", "faster-rcnn", "deformable-detr"] = "retinanet"
    channels: int = 64
    convs: int = 1
    strides: tuple[int, ...] | None = None
    extra_levels: int = 1
    anchor_scale: float = 4.0
    options: Mapping[str, Any] = field(default_factory=dict)
    steps: int = 100
    batch_size: int = 8
    crop: tuple[int, int] = (96, 128)
    scale: tuple[float, float] = (0.8, 1.6)
    hflip: float = 0.5
    resize: tuple[int, int] | None = None
    visible: float = 0.3
    photometric: Mapping[str, Any] = field(default_factory=dict)
    optimizer: Literal["sgd", "adamw"] = "adamw"
    lr: float = 1e-3
    head_lr: float = 1.0
    weight_decay: float = 0.05
    momentum: float = 0.9
    schedule: Literal["poly", "cosine"] = "cosine"
    warmup: int = 10
    grad_clip: float | None = 10.0
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    channel_order: Literal["RGB", "BGR"] = "RGB"
    channels_last: bool = True
    eval_batch: int = 8
    curve_every: int = 10

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for hashing and for the table's protocol."""
        return asdict(self)

    def at(self, rate: float, steps: int | None = None) -> DetectionSpec:
        """The run at one learning rate, and of other length if ``steps`` is given."""
        return replace(self, lr=rate, steps=self.steps if steps is None else steps)

    def select(self, dataset: Any, indices: Sequence[int] | None = None) -> BoxedImages:
        """The images of a data set at the indices given."""
        return BoxedImages(dataset, indices)

    def run(
        self,
        init: Init,
        train: BoxedImages,
        evaluation: BoxedImages,
        *,
        seed: int,
        device: str | torch.device,
    ) -> tuple[dict[str, Any], nn.Module]:
        """Train on ``train`` from ``init`` and score on ``evaluation``.

        Pyramid, heads, crops and the sampling of anchors depend on ``seed`` alone. The last step's
        weights are scored. A run that diverges scores 0.

        Raises:
            UsageError: mmdetection is not installed; weights that do not fit or give other
                features than the pretrained ones; no box to find.
        """
        from densecl.transfer.detection import finetuning

        device = torch.device(device)
        detector, difference = finetuning.build_started(self, init, seed)
        detector.to(device)
        if self.channels_last:
            detector.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        began = time.perf_counter()
        curve, diverged = finetuning.train(detector, self, train, seed, device)
        trained = time.perf_counter()
        detector.train(False)
        scores: dict[str, Any] = {column.key: 0.0 for column in self.columns}
        if not diverged:
            scores = finetuning.evaluate(detector, self, evaluation, device)
        finite = [(step, loss) for step, loss in curve if loss == loss and abs(loss) < float("inf")]
        result = {
            **scores,
            "curves": {
                "training loss": {
                    "x": [step for step, _ in finite],
                    "y": [loss for _, loss in finite],
                    "xlabel": "step",
                    "ylabel": "loss",
                }
            },
            "seconds": {"train": trained - began, "evaluate": time.perf_counter() - trained},
            "feature_difference": difference,
            "diverged": diverged,
        }
        return result, detector

    def restore(
        self, state: Mapping[str, Tensor], init: Init, *, seed: int, device: str | torch.device
    ) -> nn.Module:
        """The trained detector; its backbone's weights are in ``state`` too."""
        from densecl.transfer.detection.finetuning import detector_of

        with torch.random.fork_rng(devices=[]):
            detector = detector_of(self)
        detector.load_state_dict(dict(state))
        return detector.to(device).train(False)

    def score(
        self, trained: nn.Module, images: BoxedImages, device: str | torch.device
    ) -> dict[str, Any]:
        """``evaluate`` on other images."""
        from densecl.transfer.detection.finetuning import evaluate

        return evaluate(trained, self, images, torch.device(device))

    def pictures(
        self, trained: Mapping[str, Any], items: BoxedImages, device: str | torch.device
    ) -> dict[str, np.ndarray]:
        """``detections``: some images with the truth, and what each row's detector finds there."""
        from densecl.transfer.detection.pictures import detection_sheet

        return {"detections": detection_sheet(self, trained, items, torch.device(device))}
