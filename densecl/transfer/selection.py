"""Some labelled items of a data set, decoded once while they fit, and the order they are shown in.

Every random choice is a function of (seed, step): two runs with the same seed see the same items in
the same order, whatever the row of the table, so that rows differ by weights alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from densecl.data.seeding import rng
from densecl.errors import UsageError

_ORDER = 11  # stream of a seed

Item = TypeVar("Item")


class Items(Protocol):
    """A data set whose items have stable names."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...

    def name(self, index: int, /) -> str:
        """Stable name of an item."""
        ...


class Selection(ABC, Generic[Item]):
    """The items of a data set at the indices given.

    Args:
        dataset: what they are of.
        indices: which, in order; None = all.
        cache_bytes: decoded items are kept until this many bytes are used, then decoded anew at
            each access.

    Raises:
        UsageError: the selection is empty.
    """

    what = "item"

    def __init__(
        self, dataset: Any, indices: Sequence[int] | None = None, cache_bytes: int = 1 << 30
    ) -> None:
        self.dataset = dataset
        self.indices = list(range(len(dataset)) if indices is None else indices)
        if not self.indices:
            raise UsageError(
                f"no labelled {self.what} selected", fix="check the subset file and split"
            )
        self._room = cache_bytes
        self._cache: dict[int, Item] = {}

    def __len__(self) -> int:
        return len(self.indices)

    def name(self, position: int) -> str:
        """Name of the item at ``position`` of the selection."""
        return self.dataset.name(self.indices[position])

    def __getitem__(self, position: int) -> Item:
        """The item at ``position`` of the selection.

        Raises:
            UsageError: it carries no labels.
        """
        if position in self._cache:
            return self._cache[position]
        item = self.read(self.indices[position])
        size = self.size_of(item)
        if size <= self._room:
            self._room -= size
            self._cache[position] = item
        return item

    @abstractmethod
    def read(self, index: int) -> Item:
        """Decode item ``index`` of the data set."""

    @abstractmethod
    def size_of(self, item: Item) -> int:
        """Bytes that keeping it costs."""


def batch_positions(count: int, batch_size: int, step: int, seed: int) -> list[int]:
    """Positions of one training batch: shuffled passes over ``count`` items, laid end to end.

    Args:
        count: number of training items; may be smaller than the batch.
        batch_size: items per step.
        step: from 0.
        seed: of the run.
    """
    positions = []
    for place in range(step * batch_size, (step + 1) * batch_size):
        epoch, offset = divmod(place, count)
        positions.append(int(rng(seed, _ORDER, epoch).permutation(count)[offset]))
    return positions


def root_weights(count: np.ndarray) -> np.ndarray:
    """Inverse root frequency of classes.

    Args:
        count: (L,) how often each occurs among the labels.

    Returns:
        (L,) float32 with mean 1 over the classes that occur; 0 for those that do not.
    """
    seen = count > 0
    weight = np.where(seen, 1 / np.sqrt(np.maximum(count, 1)), 0.0)
    return (weight * seen.sum() / max(weight.sum(), 1e-12)).astype(np.float32)
