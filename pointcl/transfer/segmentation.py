"""A segmentor of points: a sparse backbone, a linear head on its voxels, and its losses."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from densecl.errors import UsageError
from pointcl.sparse import SparseTensor

LOSSES = ("ce", "ce+lovasz")


class Segmentor(nn.Module):
    """Class scores of voxels.

    Args:
        backbone: sparse U-Net with a map at stride 1; taken as it is, with its weights.
        num_classes: L.

    Raises:
        UsageError: the backbone has no map at stride 1.
    """

    def __init__(self, backbone: nn.Module, num_classes: int) -> None:
        super().__init__()
        channels: dict[int, int] = backbone.channels  # type: ignore[assignment]
        if 1 not in channels:
            raise UsageError(
                f"the backbone {type(backbone).__name__} has maps at strides {sorted(channels)}",
                needed="a map at stride 1, a feature for every voxel, to fine-tune",
                fix="take a U-Net, or a protocol with probe=dict(...), which reads any map",
            )
        self.backbone = backbone
        self.head = nn.Linear(channels[1], num_classes)

    def forward(self, x: SparseTensor) -> Tensor:
        """(M, L) scores of the voxels."""
        return self.head(self.backbone(x).maps[1].features.float())

    def predict(self, x: SparseTensor, point_to_voxel: Tensor) -> Tensor:
        """(N,) int64 class of each point: that of its voxel; without one, ``fallback``."""
        scores = self(x)
        classes = torch.cat([scores.argmax(1), scores.new_full((1,), self.fallback).long()])
        return classes[point_to_voxel]  # -1 is the last

    @property
    def fallback(self) -> int:
        """Class of a point about which nothing is known: the largest bias."""
        return int(self.head.bias.argmax())


def voxel_loss(
    scores: Tensor,
    labels: Tensor,
    *,
    loss: str = "ce",
    weights: Tensor | None = None,
    ignore: int = 255,
) -> Tensor:
    """Loss of a batch of voxels.

    Args:
        scores: (M, L).
        labels: (M,) int64 in [0, L) or ``ignore``.
        loss: ``ce``: cross entropy; ``ce+lovasz``: with the Lovasz-softmax loss added.
        weights: (L,) of the classes in the cross entropy, or None.
        ignore: label of voxels that do not count.

    Returns:
        A scalar; 0 with gradient where no voxel counts.
    """
    kept = labels != ignore
    scores, labels = scores[kept].float(), labels[kept]
    weight = torch.ones_like(scores[:, 0]) if weights is None else weights[labels]
    each = functional.cross_entropy(scores, labels, reduction="none")
    total = (each * weight).sum() / weight.sum().clamp(min=1e-6)
    if loss == "ce+lovasz":
        total = total + lovasz_softmax(scores.softmax(1), labels)
    return total


def lovasz_softmax(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Mean over the classes present of the Lovasz extension of the Jaccard loss.

    Args:
        probabilities: (N, L).
        labels: (N,) int64 in [0, L).

    Returns:
        A scalar; 0 with gradient for no rows.

    Source: Berman et al. 2018, algorithm 1.
    """
    if not len(labels):
        return probabilities.sum() * 0
    terms = []
    for present in labels.unique().tolist():
        truth = (labels == present).to(probabilities.dtype)
        errors, order = (truth - probabilities[:, present]).abs().sort(descending=True)
        terms.append(errors @ _jaccard_steps(truth[order]))
    return torch.stack(terms).mean()


def _jaccard_steps(truth: Tensor) -> Tensor:
    """How much the Jaccard loss grows with each further wrong row; truth 0 or 1, (N,)."""
    hits = truth.sum() - truth.cumsum(0)
    union = truth.sum() + (1 - truth).cumsum(0)
    loss = 1 - hits / union
    return torch.cat([loss[:1], loss[1:] - loss[:-1]])
