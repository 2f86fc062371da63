"""What runs share that fit something to a frozen backbone: a linear map, a memory."""

from __future__ import annotations

import time
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from densecl.transfer.initialisation import Init
from densecl.transfer.probe import Readout
from densecl.transfer.task import Trained
from densecl.transfer.untrained import Untrained


@dataclass(frozen=True)
class Probed:
    """A frozen backbone and the linear map fitted to it.

    Attributes:
        backbone: in evaluation mode.
        readout: the map, of z-scored features.
    """

    backbone: nn.Module
    readout: Readout

    def state_dict(self) -> dict[str, Tensor]:
        """The linear map alone: the backbone is where it came from."""
        return {name: getattr(self.readout, name) for name in ("weight", "bias", "mean", "std")}


class Fitted(Untrained):
    """Base of a task that fits something to a frozen backbone, in no steps.

    A subclass is a frozen dataclass with ``backbone``, ``select``, ``open``, ``fit``, ``restore``
    and ``score``; where it has a grid, with ``at``.
    """

    @abstractmethod
    def open(self, init: Init, seed: int, device: str | torch.device) -> nn.Module:
        """The starting weights as a backbone in evaluation mode; ``seed`` is of random ones."""

    @abstractmethod
    def fit(
        self, backbone: nn.Module, train: Any, seed: int, device: str | torch.device
    ) -> Trained:
        """Fit to items from ``select``; ``seed`` is of what is drawn of them."""

    def run(
        self, init: Init, train: Any, evaluation: Any, *, seed: int, device: str | torch.device
    ) -> tuple[dict[str, Any], Any]:
        """Fit on ``train`` and score on ``evaluation``, both from ``select``.

        Args:
            init: starting weights of the backbone.
            train, evaluation: from ``select``.
            seed: of random weights, and of what is drawn.
            device: where to run.

        Returns:
            See ``densecl.transfer.task.Task.run``.
        """
        backbone = self.open(init, seed, device)
        began = time.perf_counter()
        trained = self.fit(backbone, train, seed, device)
        fitted = time.perf_counter()
        result = self.score(trained, evaluation, device)
        seconds = {"train": fitted - began, "evaluate": time.perf_counter() - fitted}
        return {**result, "seconds": seconds, "feature_difference": 0.0, "diverged": False}, trained
