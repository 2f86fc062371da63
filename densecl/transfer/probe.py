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

from densecl.transfer.images import LabelledImages
from densecl.transfer.metrics import IGNORE, confusion_matrix, iou_per_class, mean_iou


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
    batch: int = 16
    ignore: int = IGNORE


@dataclass
class ProbeResult:
    """Score of a probe: ``miou``, per-class ``iou`` (NaN = absent) and the (L, L) confusion."""

    miou: float
    iou: list[float]
    confusion: np.ndarray


@torch.no_grad()
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
    modes = [(module, module.training) for module in backbone.modules()]
    backbone.eval()
    maps = backbone(images).maps
    for module, mode in modes:
        module.training = mode
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
    rows, labels = [], []
    for positions in _chunks(len(train), 1):
        features, truths = _features(backbone, train, positions, spec)
        for feature, truth in zip(features, truths, strict=True):
            cells = label_at_cells(truth, feature.shape[-2:])
            kept = cells != spec.ignore
            rows.append(feature.flatten(1).T[kept.flatten()])
            labels.append(cells[kept])
    x, y = torch.cat(rows), torch.cat(labels).long()
    if not len(y):
        raise ValueError("no labelled cell in the training images")
    mean, std = x.mean(dim=0), x.std(dim=0, unbiased=False)
    std = torch.where(std > 1e-6 * std.max().clamp(min=1e-12), std, torch.ones_like(std))
    fit = fit_logistic if spec.solver == "logistic" else fit_ridge
    weight, bias = fit((x - mean) / std, y, spec)
    confusion = np.zeros((spec.num_classes, spec.num_classes), np.int64)
    for positions in _chunks(len(evaluation), 1):
        features, truths = _features(backbone, evaluation, positions, spec)
        z = (features - mean.view(1, -1, 1, 1)) / std.view(1, -1, 1, 1)
        logits = functional.conv2d(z, weight[:, :, None, None], bias)
        for each, truth in zip(logits, truths, strict=True):
            full = functional.interpolate(
                each[None], truth.shape, mode="bilinear", align_corners=False
            )
            predicted = full[0].argmax(dim=0).numpy()
            confusion += confusion_matrix(predicted, truth, spec.num_classes, spec.ignore)
    return ProbeResult(mean_iou(confusion), iou_per_class(confusion).tolist(), confusion)


def label_at_cells(truth: np.ndarray, size: Sequence[int]) -> Tensor:
    """The label under each cell's centre: (H, W) -> (h, w)."""
    axes = [
        torch.from_numpy(((np.arange(cells) + 0.5) * extent / cells).astype(np.int64))
        for cells, extent in zip(size, truth.shape, strict=True)
    ]
    return torch.from_numpy(truth)[axes[0][:, None], axes[1][None, :]]


def fit_logistic(x: Tensor, y: Tensor, spec: ProbeSpec) -> tuple[Tensor, Tensor]:
    """Multinomial logistic regression from zero by LBFGS.

    Args:
        x: (N, D) z-scored features.
        y: (N,) class ids.
        spec: ``num_classes``, ``decay`` and ``iterations`` are read.

    Returns:
        weight (L, D) and bias (L,) that minimise the mean cross entropy
        + decay / 2 * |weight|^2.
    """
    weight = torch.zeros(spec.num_classes, x.shape[1], requires_grad=True)
    bias = torch.zeros(spec.num_classes, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=spec.iterations, history_size=10, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(x @ weight.T + bias, y)
        loss = loss + 0.5 * spec.decay * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return weight.detach(), bias.detach()


def fit_ridge(x: Tensor, y: Tensor, spec: ProbeSpec) -> tuple[Tensor, Tensor]:
    """Ridge regression on one-hot targets, in closed form; arguments as ``fit_logistic``."""
    x64 = torch.cat([x.double(), torch.ones(len(x), 1, dtype=torch.float64)], dim=1)
    target = functional.one_hot(y, spec.num_classes).double()
    penalty = torch.full((x64.shape[1],), spec.decay * len(x), dtype=torch.float64)
    penalty[-1] = 0  # the bias is free
    normal = x64.T @ x64 + torch.diag(penalty)
    solution = torch.linalg.solve(normal, x64.T @ target).float()
    return solution[:-1].T.contiguous(), solution[-1]


def _chunks(count: int, size: int) -> list[range]:
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


def _features(
    backbone: nn.Module, images: LabelledImages, positions: Sequence[int], spec: ProbeSpec
) -> tuple[Tensor, list[np.ndarray]]:
    pairs = [images[position] for position in positions]
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (spec.mean, spec.std))
    batch = torch.from_numpy(np.stack([image for image, _ in pairs])).permute(0, 3, 1, 2)
    batch = (batch.float() - mean) / std
    return dense_features(backbone, batch, spec.strides, spec.grid), [label for _, label in pairs]
