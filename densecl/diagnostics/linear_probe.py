"""Linear probes: solvers without randomness or learning rate, and the cells they are fitted to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from densecl.diagnostics.ridge import fit_ridge
from densecl.diagnostics.segmentation_metrics import (
    IGNORE,
    confusion_matrix,
    mean_iou,
    pixel_accuracy,
)
from densecl.errors import UsageError
from densecl.models.frozen import frozen


@dataclass(frozen=True)
class ProbeScore:
    """Mean intersection over union of the classes that occur, and share of cells right."""

    miou: float
    accuracy: float


@dataclass(frozen=True)
class LinearProbe:
    """Class scores are ``((x - mean) / std) @ weight + bias``.

    Attributes:
        weight: (C, L). bias: (L,). mean, std: (C,), of the training cells. All float64.
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    std: Tensor

    def predict(self, features: Tensor) -> Tensor:
        """(N, C) -> (N,) class ids."""
        return (((features.double() - self.mean) / self.std) @ self.weight + self.bias).argmax(1)

    def score(self, features: Tensor, labels: Tensor) -> ProbeScore:
        """Compare predictions for (N, C) with labels (N,)."""
        return score(self.predict(features), labels)


def fit_probe(features: Tensor, labels: Tensor, *, ridge: float = 1e-3) -> LinearProbe:
    """Ridge regression from standardised features to one-hot labels, in float64.

    Args:
        features: (N, C) float, N >= 1.
        labels: (N,) int64 in [0, L).
        ridge: > 0, see ``fit_ridge``.

    Raises:
        ValueError: no rows, or lengths differ.
    """
    if len(features) < 1 or len(features) != len(labels):
        raise ValueError(f"{len(features)} features and {len(labels)} labels")
    x = features.double()
    mean, std = standardisation(x)
    weight, bias = fit_ridge((x - mean) / std, functional.one_hot(labels), ridge)
    return LinearProbe(weight.T, bias, mean, std)


def standardisation(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (C,) of features (N, C).

    A channel that is constant, but for rounding, tells nothing; its deviation is given as 1, so
    that dividing by it leaves the channel at zero.
    """
    mean, std = x.mean(dim=0), x.std(dim=0, unbiased=False)
    varies = std > 1e-6 * std.max().clamp(min=1e-12)
    return mean, torch.where(varies, std, torch.ones_like(std))


def fit_logistic(
    x: Tensor, y: Tensor, num_classes: int, decay: float, iterations: int
) -> tuple[Tensor, Tensor]:
    """Multinomial logistic regression from zero by LBFGS.

    Args:
        x: (N, C) standardised features, float32.
        y: (N,) int64 class ids in [0, L).
        num_classes: L.
        decay: L2 weight.
        iterations: most iterations of LBFGS.

    Returns:
        weight (L, C) and bias (L,) that minimise the mean cross entropy
        + decay / 2 * |weight|^2.
    """
    weight = torch.zeros(num_classes, x.shape[1], requires_grad=True)
    bias = torch.zeros(num_classes, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=iterations, history_size=10, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(x @ weight.T + bias, y)
        loss = loss + 0.5 * decay * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return weight.detach(), bias.detach()


def score(predicted: Tensor, labels: Tensor) -> ProbeScore:
    """Scores over the classes that occur in prediction or truth.

    Raises:
        ValueError: no cells.
    """
    if len(labels) < 1:
        raise ValueError("no labelled cells to score")
    num_classes = int(torch.maximum(predicted, labels).max()) + 1
    confusion = confusion_matrix(
        predicted.cpu().numpy(), labels.cpu().numpy(), num_classes, ignore=None
    )
    return ProbeScore(mean_iou(confusion, over="either"), pixel_accuracy(confusion))


def cells(backbone: nn.Module, norm: nn.Module, dataset: Any, count: int) -> tuple[Tensor, Tensor]:
    """Features and labels of the cells of the deepest map, over evenly spaced samples.

    A cell takes the label of the pixel at its centre; ignored cells are left out. Images are
    taken one by one at their own size, whole.

    Args:
        backbone: image (B, 3, H, W) float -> ``Features``.
        norm: (B, 3, H, W) uint8 -> float.
        dataset: yields samples whose first frame has a ``label`` map.
        count: how many samples.

    Returns:
        Features (N, C) float32, labels (N,) int64.

    Raises:
        UsageError: a sample without labels.
    """
    features, labels = [], []
    chosen = np.unique(np.linspace(0, len(dataset) - 1, count).round().astype(int))
    with frozen(backbone):
        for index in chosen.tolist():
            sample = dataset[index]
            frame = sample.frames[0]
            if "label" not in frame.maps:
                raise UsageError(f"{sample.name} has no label map", needed="a labelled data set")
            image = torch.from_numpy(np.ascontiguousarray(frame.image)).permute(2, 0, 1)[None]
            grid = backbone(norm(image)).last()[0].float()
            label = torch.from_numpy(np.asarray(frame.maps["label"]).astype(np.int64))
            label = label_cells(label, grid.shape[1], grid.shape[2]).flatten().to(grid.device)
            keep = label != IGNORE
            features.append(grid.flatten(1).T[keep])
            labels.append(label[keep])
    return torch.cat(features), torch.cat(labels)


def label_cells(label: Tensor, rows: int, columns: int) -> Tensor:
    """(H, W) -> (h, w): the label of the pixel that holds each cell's centre."""
    height, width = label.shape
    r = ((torch.arange(rows) + 0.5) * height / rows).long().clamp_max(height - 1)
    c = ((torch.arange(columns) + 0.5) * width / columns).long().clamp_max(width - 1)
    return label[r][:, c]
