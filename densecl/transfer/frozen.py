"""The frozen probe as a run of a table: its grid is the weight decay of the linear map."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from densecl.transfer.images import LabelledImages
from densecl.transfer.initialisation import Init, starting_backbone
from densecl.transfer.probe import ProbeSpec, Readout, fit_readout, predict_image, score_readout
from densecl.transfer.scores import scores_of


@dataclass(frozen=True)
class Probed:
    """A frozen backbone and the linear map fitted to it."""

    backbone: nn.Module
    readout: Readout

    def state_dict(self) -> dict[str, Tensor]:
        """The linear map alone: the backbone is where it came from."""
        return {name: getattr(self.readout, name) for name in ("weight", "bias", "mean", "std")}


@dataclass(frozen=True)
class FrozenSpec:
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
    steps = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for hashing and for the table's protocol."""
        return asdict(self)

    def at(self, rate: float, steps: int | None = None) -> FrozenSpec:
        """The probe at one weight decay; it has no steps."""
        return replace(self, probe=replace(self.probe, decay=rate))

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
    ) -> tuple[dict[str, Any], Probed]:
        """Fit on ``train`` and score on ``evaluation``; ``seed`` is of random weights only."""
        backbone = self._backbone(init, seed, device)
        began = time.perf_counter()
        readout = fit_readout(backbone, train, self.probe)
        fitted = time.perf_counter()
        found = score_readout(backbone, readout, evaluation, self.probe)
        result = {
            **scores_of(found.confusion),
            "seconds": {"train": fitted - began, "evaluate": time.perf_counter() - fitted},
            "feature_difference": 0.0,
            "diverged": False,
        }
        return result, Probed(backbone, readout)

    def restore(
        self, state: Mapping[str, Tensor], init: Init, *, seed: int, device: str | torch.device
    ) -> Probed:
        """The fitted map on the backbone that it was fitted to."""
        return Probed(self._backbone(init, seed, device), Readout(**state))

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

    def _backbone(self, init: Init, seed: int, device: str | torch.device) -> nn.Module:
        return starting_backbone(init, self.backbone, seed).to(device).eval()
