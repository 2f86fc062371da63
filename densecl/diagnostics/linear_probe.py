"""A closed-form linear probe: cheap, deterministic, without a learning rate to tune."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from densecl.errors import UsageError

IGNORE = 255


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
    """Ridge regression from standardised features to one-hot labels.

    Minimises ``|Z W + b - Y|^2 / N + ridge * |W|^2`` with Z the standardised features.

    Args:
        features: (N, C) float, N >= 1.
        labels: (N,) int64 in [0, L).
        ridge: > 0.

    Raises:
        ValueError: no rows, or lengths differ.
    """
    if len(features) < 1 or len(features) != len(labels):
        raise ValueError(f"{len(features)} features and {len(labels)} labels")
    x = features.double()
    mean, std = x.mean(0), x.std(0, unbiased=False)
    # A constant channel tells nothing; dividing by 1 leaves it at zero.
    std = torch.where(std > 0, std, torch.ones_like(std))
    z = (x - mean) / std
    targets = nn.functional.one_hot(labels).double()
    bias = targets.mean(0)
    gram = z.T @ z / len(z) + ridge * torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
    weight = torch.linalg.solve(gram, z.T @ (targets - bias) / len(z))
    return LinearProbe(weight, bias, mean, std)


def score(predicted: Tensor, labels: Tensor) -> ProbeScore:
    """Scores over the classes that occur in prediction or truth.

    Raises:
        ValueError: no cells.
    """
    if len(labels) < 1:
        raise ValueError("no labelled cells to score")
    overlaps = []
    for label in torch.cat([predicted, labels]).unique():
        union = ((predicted == label) | (labels == label)).sum()
        overlaps.append(float(((predicted == label) & (labels == label)).sum() / union))
    accuracy = float((predicted == labels).double().mean())
    return ProbeScore(sum(overlaps) / len(overlaps), accuracy)


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradient; each submodule's own mode is put back."""
    modes = {m: m.training for m in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for m, training in modes.items():
            m.training = training


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
