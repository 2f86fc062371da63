"""Frozen linear probe: how much of a segmentation can a linear map read off the features?

Protocol: the deepest maps (layer3 and layer4 of a ResNet) are upsampled to one grid of stride 8,
concatenated, z-scored with the training images' statistics, and a multinomial logistic
regression is fitted; its logits are upsampled to the labels' size and scored there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from densecl.diagnostics.linear_probe import (
    fit_logistic,
    label_cells,
    standardisation,
)
from densecl.diagnostics.ridge import fit_ridge
from densecl.diagnostics.segmentation_metrics import (
    IGNORE,
    confusion_matrix,
    iou_per_class,
    mean_iou,
)
from densecl.models.frozen import frozen
from densecl.transfer.images import LabelledImages


@dataclass(frozen=True)
class ProbeSpec:
    """Settings of the probe.

    Attributes:
        num_classes: L.
        strides: which maps of the backbone; None = the two of largest stride.
        grid: stride in pixels of the common grid.
        solver: ``logistic`` (LBFGS) or ``ridge`` (least squares on one-hot targets).
        decay: L2 weight: of the mean loss for ``logistic``; per training cell for ``ridge``.
        iterations: most iterations of LBFGS.
        mean, std: input normalisation on the 0-255 scale.
        channel_order: of the backbone's input; data are RGB.
        batch: images per forward.
        ignore: label id without a class.
    """

    num_classes: int
    strides: tuple[int, ...] | None = None
    grid: int = 8
    solver: Literal["logistic", "ridge"] = "logistic"
    decay: float = 1e-4
    iterations: int = 100
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    channel_order: Literal["RGB", "BGR"] = "RGB"
    batch: int = 16
    ignore: int = IGNORE


@dataclass
class ProbeResult:
    """Score of a probe: ``miou``, per-class ``iou`` (NaN = absent) and the (L, L) confusion."""

    miou: float
    iou: list[float]
    confusion: np.ndarray


@dataclass(frozen=True)
class Readout:
    """The linear map: class scores are ``weight @ ((feature - mean) / std) + bias``.

    Attributes:
        weight: (L, D). bias: (L,). mean, std: (D,), of the training cells.
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    std: Tensor


def dense_features(
    backbone: nn.Module, images: Tensor, strides: Sequence[int] | None, grid: int
) -> Tensor:
    """Maps of several strides on one grid.

    Args:
        backbone: returns ``Features``; used in evaluation mode, its mode is restored.
        images: (B, 3, H, W), normalised.
        strides: which maps; None = the two of largest stride.
        grid: stride of the result.

    Returns:
        (B, D, ceil(H / grid), ceil(W / grid)), the maps resized bilinearly and concatenated
        in the order of their strides.
    """
    with frozen(backbone):
        maps = backbone(images).maps
    chosen = sorted(maps)[-2:] if strides is None else strides
    size = tuple(-(-side // grid) for side in images.shape[-2:])
    resized = [
        functional.interpolate(maps[stride].float(), size, mode="bilinear", align_corners=False)
        for stride in chosen
    ]
    return torch.cat(resized, dim=1)


def linear_probe(
    backbone: nn.Module, train: LabelledImages, evaluation: LabelledImages, spec: ProbeSpec
) -> ProbeResult:
    """Fit on ``train``, score on ``evaluation``; no random number is drawn.

    Raises:
        ValueError: no labelled cell in the training images.
    """
    return score_readout(backbone, fit_readout(backbone, train, spec), evaluation, spec)


def fit_readout(backbone: nn.Module, train: LabelledImages, spec: ProbeSpec) -> Readout:
    """Fit the linear map to the labelled cells of ``train``.

    Raises:
        ValueError: no labelled cell in the training images.
    """
    rows, labels = [], []
    for position in range(len(train)):
        image, truth = train[position]
        feature = _features(backbone, image[None], spec)[0]
        cells = label_cells(torch.from_numpy(truth), *feature.shape[-2:])
        kept = cells != spec.ignore
        rows.append(feature.flatten(1).T[kept.flatten()])
        labels.append(cells[kept])
    x, y = torch.cat(rows), torch.cat(labels).long()
    if not len(y):
        raise ValueError("no labelled cell in the training images")
    mean, std = standardisation(x)
    z = (x - mean) / std
    if spec.solver == "logistic":
        weight, bias = fit_logistic(z, y, spec.num_classes, spec.decay, spec.iterations)
    else:
        solved = fit_ridge(z, functional.one_hot(y, spec.num_classes), spec.decay)
        weight, bias = (part.to(z.dtype) for part in solved)
    return Readout(weight, bias, mean, std)


def score_readout(
    backbone: nn.Module, readout: Readout, evaluation: LabelledImages, spec: ProbeSpec
) -> ProbeResult:
    """Score a fitted map on whole images, at the labels' own size."""
    confusion = np.zeros((spec.num_classes, spec.num_classes), np.int64)
    for position in range(len(evaluation)):
        image, truth = evaluation[position]
        predicted = predict_image(backbone, readout, image, truth.shape, spec)
        confusion += confusion_matrix(predicted, truth, spec.num_classes, spec.ignore)
    return ProbeResult(mean_iou(confusion), iou_per_class(confusion).tolist(), confusion)


def predict_image(
    backbone: nn.Module,
    readout: Readout,
    image: np.ndarray,
    size: tuple[int, ...],
    spec: ProbeSpec,
) -> np.ndarray:
    """Class ids of a picture.

    Args:
        backbone, readout: from ``fit_readout``.
        image: (H, W, 3) uint8 RGB.
        size: (H', W') of the prediction.
        spec: the probe.

    Returns:
        (H', W') int64.
    """
    mean, std = readout.mean.view(1, -1, 1, 1), readout.std.view(1, -1, 1, 1)
    features = _features(backbone, image[None], spec)
    logits = functional.conv2d(
        (features - mean) / std, readout.weight[:, :, None, None], readout.bias
    )
    full = functional.interpolate(logits, size, mode="bilinear", align_corners=False)
    return full[0].argmax(dim=0).numpy()


def _features(backbone: nn.Module, images: np.ndarray, spec: ProbeSpec) -> Tensor:
    """(B, D, h, w) on the CPU, of (B, H, W, 3) uint8 images."""
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (spec.mean, spec.std))
    batch = torch.from_numpy(images).permute(0, 3, 1, 2)
    if spec.channel_order == "BGR":
        batch = batch.flip(1)
    batch = (batch.float() - mean) / std
    device = next((p.device for p in backbone.parameters()), batch.device)
    return dense_features(backbone, batch.to(device), spec.strides, spec.grid).cpu()
