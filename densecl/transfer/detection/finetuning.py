"""Fine-tune a detector on a few images with boxes, and score it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from densecl.data.boxes import BoxedImage
from densecl.data.seeding import derive_seed
from densecl.errors import UsageError
from densecl.transfer.compute import TRAIN
from densecl.transfer.detection.average_precision import (
    Detections,
    Precision,
    Truth,
    average_precision,
)
from densecl.transfer.detection.detectors import (
    build_detector,
    detect,
    detection_loss,
    transplant,
)
from densecl.transfer.detection.images import (
    BoxedImages,
    Window,
    cut,
    fitting_scale,
    training_items,
)
from densecl.transfer.initialisation import Init, starting_backbone
from densecl.transfer.input import check_input, to_input
from densecl.transfer.training import train_steps
from densecl.views.photometric import Photometric

if TYPE_CHECKING:
    from densecl.transfer.detection.task import DetectionSpec

_HEAD, _NOISE = 21, 22  # streams of one seed


def detector_of(spec: DetectionSpec) -> nn.Module:
    """The run's detector, freshly initialised from torch's global random state."""
    return build_detector(
        spec.detector,
        spec.backbone,
        spec.num_classes,
        channels=spec.channels,
        convs=spec.convs,
        strides=spec.strides,
        extra_levels=spec.extra_levels,
        anchor_scale=spec.anchor_scale,
        options=spec.options,
    )


def build_started(spec: DetectionSpec, init: Init, seed: int) -> tuple[nn.Module, float]:
    """A detector with the pyramid and heads of ``seed`` and the backbone of ``init``, checked.

    Returns:
        The detector and the largest feature difference of its backbone.

    Raises:
        UsageError: weights that do not fit, give other features, or were trained on another input.
    """
    source = starting_backbone(init, spec.backbone, seed)
    check_input(source, spec)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, _HEAD))
        detector = detector_of(spec)
    return detector, transplant(source, detector.backbone, spec.backbone)  # type: ignore[arg-type]


def sample_of(shape: tuple[int, int], item: BoxedImage | None) -> Any:
    """mmdetection's record of one image, without padding: no box is found beyond its border.

    Args:
        shape: (h, w) of the image.
        item: its boxes, with those to ignore apart; None in evaluation.
    """
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    sample = DetDataSample(
        metainfo={
            "img_shape": shape,
            "ori_shape": shape,
            "pad_shape": shape,
            "batch_input_shape": shape,
            "scale_factor": (1.0, 1.0),
        }
    )
    if item is not None:
        boxes, labels = torch.from_numpy(item.boxes), torch.from_numpy(item.labels)
        apart = torch.from_numpy(item.ignore | item.crowd)
        sample.gt_instances = InstanceData(bboxes=boxes[~apart], labels=labels[~apart])
        sample.ignored_instances = InstanceData(bboxes=boxes[apart])
    return sample


def train(
    detector: nn.Module, spec: DetectionSpec, images: BoxedImages, seed: int, device: torch.device
) -> tuple[list[tuple[int, float]], bool]:
    """The loop; returns the loss curve and whether the loss stopped being finite."""
    colour = Photometric(**spec.photometric) if spec.photometric else None

    def loss_of(step: int) -> Tensor:
        items = training_items(
            images,
            batch_size=spec.batch_size,
            crop=spec.crop,
            resize=spec.resize,
            scale=spec.scale,
            hflip=spec.hflip,
            visible=spec.visible,
            fill=spec.mean,
            seed=seed,
            step=step,
            colour=colour,
        )
        samples = [sample_of(spec.crop, item).to(device) for item in items]
        stacked = np.stack([item.image for item in items])
        inputs = to_input(stacked, spec, device)
        return detection_loss(detector, inputs, samples)

    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(derive_seed(seed, _NOISE))
        return train_steps(detector, spec, loss_of)


@torch.no_grad()
def predict(
    detector: nn.Module,
    spec: DetectionSpec,
    images: BoxedImages,
    device: torch.device,
    positions: list[int] | None = None,
) -> list[Detections]:
    """What the detector finds in images, in their own pixels.

    Args:
        detector: its mode is left at evaluation.
        spec: says how images are resized and normalised.
        images: to look at.
        device: where to run.
        positions: which of them; None = all.
    """
    detector.train(False)
    found: list[Detections] = []
    for batch in _equal_sizes(images, spec, range(len(images)) if positions is None else positions):
        height, width = batch[0][0].shape[:2]
        stacked = np.stack([image for image, _ in batch])
        inputs = to_input(stacked, spec, device)
        samples = [sample_of((height, width), None).to(device) for _ in batch]
        results = detect(detector, inputs, samples)
        for instances, (_, shape) in zip(results, batch, strict=True):
            grown = np.tile([width / shape[1], height / shape[0]], 2)
            found.append(
                Detections(
                    instances.bboxes.numpy().astype(np.float64) / grown,
                    instances.labels.numpy(),
                    instances.scores.numpy().astype(np.float64),
                )
            )
    return found


def _equal_sizes(
    images: BoxedImages, spec: DetectionSpec, positions: range | list[int]
) -> Iterator[list[tuple[np.ndarray, tuple[int, int]]]]:
    """Resized images of neighbours of equal shape with their own shapes, some at a time."""
    batch: list[tuple[np.ndarray, tuple[int, int]]] = []
    for position in positions:
        item = images[position]
        shape = (item.image.shape[0], item.image.shape[1])
        base = fitting_scale(shape, spec.resize)
        size = (max(1, round(shape[0] * base)), max(1, round(shape[1] * base)))
        image = item.image
        if size != shape:
            whole = Window((0.0, 0.0, float(shape[1]), float(shape[0])), False)
            image = cut(item, whole, size, spec.visible, spec.mean).image
        if batch and (len(batch) == spec.eval_batch or batch[0][0].shape != image.shape):
            yield batch
            batch = []
        batch.append((image, shape))
    if batch:
        yield batch


def truth_of(item: BoxedImage) -> Truth:
    """What is to be found in an image."""
    return Truth(item.boxes, item.labels, item.ignore, item.crowd, item.area)


def scores_of(precision: Precision) -> dict[str, float]:
    """AP over thresholds, at 0.5 and at 0.75."""
    return {"ap": precision.ap(), "ap50": precision.ap(0.5), "ap75": precision.ap(0.75)}


def evaluate(
    detector: nn.Module, spec: DetectionSpec, images: BoxedImages, device: torch.device
) -> dict[str, Any]:
    """Average precision over all images and in each.

    Returns:
        ``ap``, ``ap50``, ``ap75``, ``ap_per_class`` (None = no box to find) and ``items``, which
        has no entry for images without a box to find.

    Raises:
        UsageError: no image holds a box to find.
    """
    found = predict(detector, spec, images, device)
    truth = [truth_of(images[position]) for position in range(len(images))]
    together = average_precision(truth, found, spec.num_classes)
    scores = scores_of(together)
    if np.isnan(scores["ap"]):
        raise UsageError(
            "the evaluation images hold no box that is to be found",
            fix="check the data set's classes and split",
        )
    items = {}
    for position, (want, got) in enumerate(zip(truth, found, strict=True)):
        alone = scores_of(average_precision([want], [got], spec.num_classes))
        if not np.isnan(alone["ap"]):
            items[images.name(position)] = alone
    by_class = [None if np.isnan(ap) else ap for ap in together.ap_per_class().tolist()]
    return {**scores, "ap_per_class": by_class, "items": items}


def step_flops(spec: DetectionSpec) -> float:
    """Operations of one step, what is not a matrix product or a convolution left out."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        # without gradients: the counter asks for the origin of whatever has one
        detector = detector_of(spec).train(True).requires_grad_(False)
        height, width = spec.crop
        item = BoxedImage(
            image=np.zeros((height, width, 3), np.uint8),
            boxes=np.array([[0, 0, width / 2, height / 2]], np.float32),
            labels=np.zeros(1, np.int64),
            ignore=np.zeros(1, bool),
            crowd=np.zeros(1, bool),
            area=np.array([width * height / 4], np.float32),
            name="blank",
        )
        samples = [sample_of(spec.crop, item)] * 2
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            detection_loss(detector, torch.zeros(2, 3, height, width), samples)
    return float(TRAIN * spec.batch_size * counter.get_total_flops()) / 2
