"""The frozen probe as a run of a table: its grid is the weight decay of the linear map."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from densecl.transfer.fitted import Fitted, Probed
from densecl.transfer.images import LabelledImages
from densecl.transfer.initialisation import Init, starting_backbone
from densecl.transfer.probe import ProbeSpec, Readout, fit_readout, predict_image, score_readout
from densecl.transfer.scores import scores_of


@dataclass(frozen=True)
class FrozenSpec(Fitted):
    """Everything that decides a probe but weights, labels and machine.

    Attributes:
        backbone: config of the pretrained backbone.
        probe: the probe; its ``decay`` is replaced by the grid's.
        resize: (H, W) that every image is resized to first, or None; labels are scored at their
            own size.
    """

    backbone: Mapping[str, Any]
    probe: ProbeSpec
    resize: tuple[int, int] | None = None

    def at(self, rate: float, steps: int | None = None) -> FrozenSpec:
        """The probe at one weight decay; it has no steps."""
        return replace(self, probe=replace(self.probe, decay=rate))

    def select(self, dataset: Any, indices: Sequence[int] | None = None) -> LabelledImages:
        """The images of a data set at the indices given."""
        return LabelledImages(dataset, indices, resize=self.resize)

    def open(self, init: Init, seed: int, device: str | torch.device) -> nn.Module:
        """The starting weights in evaluation mode."""
        return starting_backbone(init, self.backbone, seed).to(device).eval()

    def fit(
        self, backbone: nn.Module, train: LabelledImages, seed: int, device: str | torch.device
    ) -> Probed:
        """``fit_readout``; nothing is drawn."""
        return Probed(backbone, fit_readout(backbone, train, self.probe))

    def restore(
        self, state: Mapping[str, Tensor], init: Init, *, seed: int, device: str | torch.device
    ) -> Probed:
        """The fitted map on the backbone that it was fitted to."""
        return Probed(self.open(init, seed, device), Readout(**state))

    def score(
        self, trained: Probed, images: LabelledImages, device: str | torch.device
    ) -> dict[str, Any]:
        """Scores on other images."""
        found = score_readout(trained.backbone, trained.readout, images, self.probe)
        return scores_of(found.confusion)

    def pictures(
        self, trained: Mapping[str, Probed], images: LabelledImages, device: str | torch.device
    ) -> dict[str, np.ndarray]:
        """Truth and prediction of each row beside the picture."""
        from densecl.transfer.showcase import segmentation_pictures

        def predictor(probed: Probed) -> Callable[[np.ndarray, tuple[int, int]], np.ndarray]:
            return lambda image, size: predict_image(
                probed.backbone, probed.readout, image, size, self.probe
            )

        predictors = {name: predictor(probed) for name, probed in trained.items()}
        return segmentation_pictures(predictors, images, self.probe.num_classes)
