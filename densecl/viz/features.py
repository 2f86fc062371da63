"""Show dense features as colours: their first three principal components."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class PrincipalColours:
    """Three axes of feature space and what of each is black and full colour.

    Fitted once, it gives pictures of several views, scans or checkpoints that can be compared.

    Attributes:
        mean: (C,) of the normalised features.
        axes: (3, C), fewer if there are fewer channels or rows.
        low, high: (3,) scores at both ends of a colour.
    """

    mean: Tensor
    axes: Tensor
    low: Tensor
    high: Tensor

    @classmethod
    def fit(cls, rows: Tensor, *, quantile: float = 0.01) -> PrincipalColours:
        """The first principal components of rows.

        Rows are L2-normalised first, so that a few large activations do not own the picture.
        The sign of a component is fixed by its largest loading, so the same features always give
        the same colours.

        Args:
            rows: (N, C) float, of everything that shall share the colours; at least one.
            quantile: share of values clipped at each end of a component.
        """
        rows = torch.nn.functional.normalize(rows.detach().float(), dim=1)
        mean = rows.mean(0)
        rows = rows - mean
        # the triangle has the rows' axes and, of a cloud, a thousandth of their number
        triangle = torch.linalg.qr(rows, mode="r").R
        _, _, axes = torch.linalg.svd(triangle, full_matrices=False)
        axes = axes[:3]
        largest = axes.abs().argmax(dim=1, keepdim=True)
        axes = axes * axes.gather(1, largest).sign()
        # sorted by numpy: torch's quantile refuses more than 2^24 values
        scores = (rows @ axes.T).cpu().numpy()
        low, high = np.quantile(scores, [quantile, 1 - quantile], axis=0).astype(np.float32)
        return cls(mean, axes, torch.from_numpy(low).to(mean), torch.from_numpy(high).to(mean))

    def apply(self, rows: Tensor) -> np.ndarray:
        """Colours (N, 3) uint8 RGB of rows (N, C).

        Raises:
            ValueError: other channels than those it was fitted on.
        """
        if rows.ndim != 2 or rows.shape[1] != len(self.mean):
            raise ValueError(f"fitted on (N, {len(self.mean)}) rows, got {tuple(rows.shape)}")
        rows = torch.nn.functional.normalize(rows.detach().float(), dim=1) - self.mean
        scores = rows @ self.axes.T
        colours = ((scores - self.low) / (self.high - self.low).clamp_min(1e-12)).clamp(0, 1)
        if colours.shape[1] < 3:
            colours = torch.nn.functional.pad(colours, (0, 3 - colours.shape[1]))
        return (colours * 255).round().byte().cpu().numpy()


def feature_pca(features: Tensor, *, quantile: float = 0.01) -> np.ndarray:
    """Project features to three principal components shared by the whole batch.

    Args:
        features: (B, C, h, w) float.
        quantile: share of values clipped at each end of a component.

    Returns:
        (B, h, w, 3) uint8 RGB; see ``PrincipalColours``.
    """
    batch, channels, h, w = features.shape
    rows = features.permute(0, 2, 3, 1).reshape(-1, channels)
    return PrincipalColours.fit(rows, quantile=quantile).apply(rows).reshape(batch, h, w, 3)
