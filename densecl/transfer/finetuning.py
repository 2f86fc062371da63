"""Fine-tune a segmentor on a few labelled images: one cell of a transfer table."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from densecl.data.seeding import derive_seed, rng
from densecl.diagnostics.segmentation_metrics import (
    IGNORE,
    confusion_matrix,
    iou_per_class,
    mean_iou,
)
from densecl.errors import UsageError
from densecl.methods.finetune.pixel_contrast import CoreTuning, PixelContrast
from densecl.transfer.images import LabelledImages, class_weights, training_batch
from densecl.transfer.initialisation import Init, starting_backbone, transplant
from densecl.transfer.input import check_input, to_input
from densecl.transfer.scores import scores_of
from densecl.transfer.segmentation import (
    build_segmentor,
    feature_maps,
    logits_and_maps,
    predict,
    segmentation_loss,
)
from densecl.transfer.training import (
    FinetuneResult,
    learning_rate,
    make_optimizer,
    parameter_groups,
    train_steps,
)
from densecl.views.photometric import Photometric

__all__ = [
    "FinetuneResult",
    "FinetuneSpec",
    "build_started",
    "evaluate",
    "finetune",
    "learning_rate",
    "make_optimizer",
    "parameter_groups",
    "segmentor_of",
]

_HEAD, _NOISE, _CONTRAST = 21, 22, 23  # streams of one seed


@dataclass(frozen=True)
class FinetuneSpec:
    """Everything that decides a fine-tuning run but weights, labels and machine.

    Attributes:
        backbone: config of the pretrained backbone.
        num_classes: L.
        head, channels, output_stride, head_options: see ``build_segmentor``.
        steps, batch_size: length of the run and images per step.
        crop: (h, w) of training crops; ``scale`` and ``hflip``: see ``random_crop``.
        resize: (H, W) that every image is resized to first, or None; labels are scored at their
            own size.
        photometric: colour augmentation, fields of ``densecl.views.photometric.Photometric``.
        class_weights: ``none``, or ``root``: the loss weighs classes by the inverse root of their
            share of the training pixels, so that rare ones are learned in a short run.
        optimizer: ``sgd`` (momentum) or ``adamw``; no weight decay on norms and biases.
        lr, weight_decay, momentum: of the optimiser; ``head_lr`` multiplies the head's rate.
        schedule: ``poly`` (power 0.9) or ``cosine``, to zero after ``warmup`` linear steps.
        grad_clip: largest gradient norm, or None.
        mean, std: input normalisation on the 0-255 scale, those of pretraining.
        channel_order: of the backbone's input; data are RGB.
        amp: ``bf16`` trains under autocast; evaluation is float32 always.
        channels_last: memory layout.
        eval_batch: images per forward of evaluation.
        curve_every: steps between points of the loss curve.
        ignore: label id without a class.
        contrast: fields of ``densecl.methods.finetune.pixel_contrast.CoreTuning``, which then
            regularises the run; None = plain fine-tuning.
    """

    backbone: Mapping[str, Any]
    num_classes: int
    head: str = "fcn"
    channels: int = 64
    output_stride: int | None = None
    head_options: Mapping[str, Any] = field(default_factory=dict)
    steps: int = 100
    batch_size: int = 8
    crop: tuple[int, int] = (96, 128)
    scale: tuple[float, float] = (0.75, 1.5)
    hflip: float = 0.5
    resize: tuple[int, int] | None = None
    photometric: Mapping[str, Any] = field(default_factory=dict)
    class_weights: Literal["none", "root"] = "none"
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: float = 0.03
    head_lr: float = 1.0
    weight_decay: float = 1e-4
    momentum: float = 0.9
    schedule: Literal["poly", "cosine"] = "poly"
    warmup: int = 5
    grad_clip: float | None = None
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    channel_order: Literal["RGB", "BGR"] = "RGB"
    amp: Literal["off", "bf16"] = "off"
    channels_last: bool = True
    eval_batch: int = 16
    curve_every: int = 10
    ignore: int = IGNORE
    contrast: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.contrast is not None:
            CoreTuning.of(self.contrast)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for hashing and for the table's protocol.

        Without contrast they do not name it, so that runs from before it was an option keep their
        hash; with it they name all of its settings, given or not.
        """
        values = asdict(self)
        contrast = values.pop("contrast")
        if contrast is None:
            return values
        return {**values, "contrast": asdict(CoreTuning.of(contrast))}

    def at(self, rate: float, steps: int | None = None) -> FinetuneSpec:
        """The run at one learning rate, and of other length if ``steps`` is given."""
        return replace(self, lr=rate, steps=self.steps if steps is None else steps)

    def select(self, dataset: Any, indices: Sequence[int] | None = None) -> LabelledImages:
        """The images of a data set at the indices given."""
        return LabelledImages(dataset, indices, resize=self.resize)

    def run(
        self,
        init: Init,
        train: LabelledImages,
        evaluation: LabelledImages,
        *,
        seed: int,
        device: str | torch.device,
    ) -> tuple[dict[str, Any], nn.Module]:
        """``finetune``, the result as plain values."""
        result, segmentor = finetune(self, init, train, evaluation, seed=seed, device=device)
        return result.to_dict(), segmentor

    def restore(
        self, state: Mapping[str, Tensor], init: Init, *, seed: int, device: str | torch.device
    ) -> nn.Module:
        """The trained segmentor from its state dict."""
        segmentor, _ = build_started(self, None, seed, seed)
        segmentor.load_state_dict(state)
        return segmentor.to(device)

    def score(
        self, segmentor: nn.Module, images: LabelledImages, device: str | torch.device
    ) -> dict[str, Any]:
        """``evaluate``, as plain values."""
        return scores_of(evaluate(segmentor, self, images, device))

    def pictures(
        self, trained: Mapping[str, nn.Module], images: LabelledImages, device: str | torch.device
    ) -> dict[str, np.ndarray]:
        """Truth and prediction of each row beside the picture."""
        from densecl.transfer.showcase import segmentation_pictures

        def predictor(segmentor: nn.Module) -> Callable[[np.ndarray, tuple[int, int]], np.ndarray]:
            segmentor.train(False)
            return lambda image, size: (
                predict(segmentor, to_input(image[None], self, torch.device(device)), size)[0]
                .cpu()
                .numpy()
            )

        predictors = {name: predictor(segmentor) for name, segmentor in trained.items()}
        with torch.no_grad():
            return segmentation_pictures(predictors, images, self.num_classes)


def segmentor_of(spec: FinetuneSpec) -> nn.Module:
    """The run's segmentor, freshly initialised from torch's global random state."""
    return build_segmentor(
        spec.head,
        spec.backbone,
        spec.num_classes,
        spec.channels,
        output_stride=spec.output_stride,
        ignore=spec.ignore,
        head_options=spec.head_options,
    )


def build_started(
    spec: FinetuneSpec, init: Init, init_seed: int, head_seed: int
) -> tuple[nn.Module, float]:
    """A segmentor with the head of ``head_seed`` and the backbone of ``init``, checked.

    Returns:
        The segmentor and the largest feature difference of its backbone.
    """
    source = starting_backbone(init, spec.backbone, init_seed)
    check_input(source, spec)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(head_seed, _HEAD))
        segmentor = segmentor_of(spec)
    return segmentor, transplant(source, segmentor.backbone, spec.backbone)  # type: ignore[arg-type]


def finetune(
    spec: FinetuneSpec,
    init: Init,
    train: LabelledImages,
    evaluation: LabelledImages,
    *,
    seed: int = 0,
    init_seed: int | None = None,
    device: str | torch.device = "cpu",
    on_step: Callable[[int, float], None] | None = None,
) -> tuple[FinetuneResult, nn.Module]:
    """Train on ``train`` from ``init`` and score on ``evaluation``.

    The head, the crops and dropout depend on ``seed`` alone, so two calls that differ in ``init``
    differ in nothing else. The last step's weights are scored: no checkpoint is picked.

    Args:
        spec: the run.
        init: starting weights of the backbone.
        train: labelled images to learn from.
        evaluation: labelled images to score on.
        seed: of head, crops and dropout.
        init_seed: of the backbone's random weights when ``init`` is None; default ``seed``.
        device: where to run.
        on_step: called with (step, loss) after each step.

    Returns:
        The result and the trained segmentor, in evaluation mode.

    Raises:
        UsageError: weights that do not fit or give other features than the pretrained ones.
    """
    device = torch.device(device)
    segmentor, difference = build_started(
        spec, init, seed if init_seed is None else init_seed, seed
    )
    if spec.contrast is not None:
        # part of the segmentor, for the optimiser and the device, until training ends
        segmentor.contrast = _pixel_contrast(spec, segmentor, seed)
    segmentor.to(device)
    if spec.channels_last:
        segmentor.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    began = time.perf_counter()
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(derive_seed(seed, _NOISE))
        curve, diverged = _train(segmentor, spec, train, seed, device, on_step)
    trained = time.perf_counter()
    if spec.contrast is not None:
        del segmentor.contrast
    segmentor.train(False)
    confusion = np.zeros((spec.num_classes, spec.num_classes), np.int64)
    if not diverged:
        confusion = evaluate(segmentor, spec, evaluation, device)
    result = FinetuneResult(
        miou=0.0 if diverged else mean_iou(confusion),
        iou=iou_per_class(confusion).tolist(),
        confusion=confusion.tolist(),
        curve=curve,
        seconds={"train": trained - began, "evaluate": time.perf_counter() - trained},
        feature_difference=difference,
        diverged=diverged,
    )
    return result, segmentor


def _pixel_contrast(spec: FinetuneSpec, segmentor: nn.Module, seed: int) -> PixelContrast:
    assert spec.contrast is not None
    settings = CoreTuning.of(spec.contrast)
    widths, _ = feature_maps(segmentor.backbone)  # type: ignore[arg-type]
    if not -len(widths) <= settings.level < len(widths):
        raise UsageError(
            f"contrast.level = {settings.level}", needed=f"one of the backbone's {len(widths)} maps"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, _CONTRAST))
        return PixelContrast(widths[settings.level], spec.num_classes, settings)


def _train(
    segmentor: nn.Module,
    spec: FinetuneSpec,
    train: LabelledImages,
    seed: int,
    device: torch.device,
    on_step: Callable[[int, float], None] | None,
) -> tuple[list[tuple[int, float]], bool]:
    """The loop; returns the loss curve and whether the loss stopped being finite."""
    autocast = (
        torch.autocast(device.type, dtype=torch.bfloat16) if spec.amp == "bf16" else nullcontext()
    )
    colour = Photometric(**spec.photometric) if spec.photometric else None
    weights = None
    if spec.class_weights == "root":
        found = class_weights(train, spec.num_classes, spec.ignore)
        weights = torch.from_numpy(found).to(device)

    def loss_of(step: int) -> Tensor:
        images, labels = training_batch(
            train,
            batch_size=spec.batch_size,
            crop=spec.crop,
            scale=spec.scale,
            hflip=spec.hflip,
            fill=spec.mean,
            seed=seed,
            step=step,
            colour=colour,
        )
        with autocast:
            logits, maps = logits_and_maps(segmentor, to_input(images, spec, device))
        target = torch.from_numpy(labels).long().to(device)
        loss = segmentation_loss(segmentor, logits, target, weights)
        if spec.contrast is None:
            return loss
        contrast: PixelContrast = segmentor.contrast  # type: ignore[assignment]
        draw = rng(seed, _CONTRAST, step)
        return loss + contrast(maps[contrast.settings.level], target, draw, spec.ignore)

    return train_steps(segmentor, spec, loss_of, on_step)


@torch.no_grad()
def evaluate(
    segmentor: nn.Module,
    spec: FinetuneSpec,
    images: LabelledImages,
    device: str | torch.device = "cpu",
) -> np.ndarray:
    """Confusion matrix (L, L) over whole images, at the labels' own size, in float32.

    Raises:
        UsageError: no pixel carries a label.
    """
    device = torch.device(device)
    confusion = np.zeros((spec.num_classes, spec.num_classes), np.int64)
    segmentor.train(False)
    for pairs in _equal_size_batches(images, spec.eval_batch):
        inputs = to_input(np.stack([image for image, _ in pairs]), spec, device)
        truth = np.stack([label for _, label in pairs])
        predicted = predict(segmentor, inputs, truth.shape[1:]).cpu().numpy()
        confusion += confusion_matrix(predicted, truth, spec.num_classes, spec.ignore)
    if not confusion.any():
        raise UsageError("the evaluation images hold no labelled pixel", fix="check the labels")
    return confusion


def _equal_size_batches(
    images: LabelledImages, size: int
) -> Iterator[list[tuple[np.ndarray, np.ndarray]]]:
    """Neighbouring (image, label) pairs of equal shapes, at most ``size`` at a time."""
    batch: list[tuple[np.ndarray, np.ndarray]] = []
    for position in range(len(images)):
        image, label = images[position]
        full = len(batch) == size
        if batch and (full or (batch[0][0].shape, batch[0][1].shape) != (image.shape, label.shape)):
            yield batch
            batch = []
        batch.append((image, label))
    if batch:
        yield batch
