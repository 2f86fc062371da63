"""What runs share that train nothing: weights are put in place and scored."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from densecl.transfer.initialisation import Init
from densecl.transfer.task import Trained

Self = TypeVar("Self", bound="Untrained")


@dataclass(frozen=True)
class Restored:
    """A frozen backbone; there is nothing else to keep."""

    backbone: nn.Module

    def state_dict(self) -> dict[str, Tensor]:
        """Nothing: the backbone is where it came from."""
        return {}


class Untrained(ABC):
    """Base of a task without a grid and without steps, see ``densecl.transfer.task.Task``.

    A subclass is a frozen dataclass with ``backbone``, ``select``, ``restore`` and ``score``.
    """

    steps = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for hashing and for the table's protocol."""
        return asdict(cast("Any", self))

    def at(self: Self, rate: float, steps: int | None = None) -> Self:
        """The same: there is no grid and no step."""
        return self

    @abstractmethod
    def select(self, dataset: Any, indices: Sequence[int] | None = None) -> Any:
        """The items of a data set at the indices given, as the run reads them; None = all."""

    @abstractmethod
    def restore(
        self, state: Mapping[str, Tensor], init: Init, *, seed: int, device: str | torch.device
    ) -> Trained:
        """What is scored; without a state, from the starting weights alone."""

    @abstractmethod
    def score(self, trained: Any, items: Any, device: str | torch.device) -> dict[str, Any]:
        """Scores of items from ``select``."""

    def run(
        self, init: Init, train: Any, evaluation: Any, *, seed: int, device: str | torch.device
    ) -> tuple[dict[str, Any], Any]:
        """Restore and score; ``train`` is not read, ``seed`` is of random weights only."""
        began = time.perf_counter()
        trained = self.restore({}, init, seed=seed, device=device)
        result = self.score(trained, evaluation, device)
        seconds = {"evaluate": time.perf_counter() - began}
        return {**result, "seconds": seconds, "feature_difference": 0.0, "diverged": False}, trained
