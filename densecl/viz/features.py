"""Show dense features as colours: their first three principal components."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def feature_pca(features: Tensor, *, quantile: float = 0.01) -> np.ndarray:
    """Project features to three principal components shared by the whole batch.

    Cells are L2-normalised first, so that a few large activations do not own the picture.
    The sign of a component is fixed by its largest loading, so the same features always give
    the same colours.

    Args:
        features: (B, C, h, w) float.
        quantile: share of values clipped at each end of a component.

    Returns:
        (B, h, w, 3) uint8 RGB.
    """
    batch, channels, h, w = features.shape
    rows = features.detach().float().permute(0, 2, 3, 1).reshape(-1, channels)
    rows = torch.nn.functional.normalize(rows, dim=1)
    rows = rows - rows.mean(0)
    _, _, axes = torch.linalg.svd(rows, full_matrices=False)
    axes = axes[:3]
    largest = axes.abs().argmax(dim=1, keepdim=True)
    axes = axes * axes.gather(1, largest).sign()
    scores = rows @ axes.T
    low = scores.quantile(quantile, dim=0)
    high = scores.quantile(1 - quantile, dim=0)
    colours = ((scores - low) / (high - low).clamp_min(1e-12)).clamp(0, 1)
    if colours.shape[1] < 3:
        colours = torch.nn.functional.pad(colours, (0, 3 - colours.shape[1]))
    return (colours.reshape(batch, h, w, 3) * 255).round().byte().cpu().numpy()
