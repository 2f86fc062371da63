"""What a cell of a table does with starting weights: fine-tune them, or read them frozen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from densecl.transfer.initialisation import Init
from densecl.transfer.selection import Selection


class Trained(Protocol):
    """What a run leaves behind."""

    def state_dict(self) -> Mapping[str, Tensor]:
        """All that ``Task.restore`` needs beside the starting weights."""
        ...


Self = TypeVar("Self", bound="Task")


class Task(Protocol):
    """Settings of a run, and how to do it. A frozen dataclass: it is hashed by ``to_dict``."""

    @property
    def backbone(self) -> Mapping[str, Any]:
        """Config of the backbone."""
        ...

    @property
    def steps(self) -> int:
        """Optimiser steps; 0 where there are none."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for hashing and for the table's protocol."""
        ...

    def at(self: Self, rate: float, steps: int | None = None) -> Self:
        """The run at one point of the grid; ``steps`` replaces its length."""
        ...

    def select(self, dataset: Any, indices: Sequence[int] | None = None) -> Selection:
        """The items of a data set at the indices given, as the run reads them; None = all."""
        ...

    def run(
        self,
        init: Init,
        train: Any,
        evaluation: Any,
        *,
        seed: int,
        device: str | torch.device,
    ) -> tuple[dict[str, Any], Any]:
        """Train and score.

        Args:
            init: starting weights of the backbone.
            train, evaluation: from ``select``.
            seed: of all that is drawn.
            device: where to run.

        Returns:
            Plain values with at least ``miou``, ``iou``, ``confusion``, ``seconds``,
            ``feature_difference`` and ``diverged``; and what was trained.
        """
        ...

    def restore(
        self, state: Mapping[str, Tensor], init: Init, *, seed: int, device: str | torch.device
    ) -> Any:
        """What was trained, from its state."""
        ...

    def score(self, trained: Any, items: Any, device: str | torch.device) -> dict[str, Any]:
        """Score on other items, from ``select``.

        Returns:
            ``scores_of`` all of them and, where single items are worth looking at, ``items``: name
            -> scores of the item.
        """
        ...
