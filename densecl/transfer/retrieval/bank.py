"""The memory that retrieval searches: labelled cells of the training pictures, not too many.

Source: Balažević et al. 2023, "Towards In-Context Scene Understanding", section 3; the published
re-implementation turns unlabelled pixels into class 0, here they have no vote.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from densecl.data.seeding import rng
from densecl.diagnostics.segmentation_metrics import IGNORE
from densecl.errors import UsageError

Pick = Literal["rare", "uniform"]
_PICK = 21  # stream of a seed


class Rows(Protocol):
    """Rows that are read block by block: a tensor in memory, or a file."""

    @property
    def shape(self) -> torch.Size:
        """(M, D)."""
        ...

    @property
    def tensor(self) -> Tensor:
        """All of them; those of a file are loaded as they are read."""
        ...

    def blocks(self, bounds: Iterable[tuple[int, int]]) -> Iterator[Tensor]:
        """Rows [start, stop) of each pair of bounds; each is valid until the next is asked for."""
        ...

    def take(self, index: Tensor) -> Tensor:
        """Rows (..., D) at indices of any shape."""
        ...


@dataclass(frozen=True)
class MemoryRows:
    """Rows (M, D) of a tensor."""

    tensor: Tensor

    @property
    def shape(self) -> torch.Size:
        """(M, D)."""
        return self.tensor.shape

    def blocks(self, bounds: Iterable[tuple[int, int]]) -> Iterator[Tensor]:
        """Rows [start, stop) of each pair of bounds."""
        for start, stop in bounds:
            yield self.tensor[start:stop]

    def take(self, index: Tensor) -> Tensor:
        """Rows (..., D) at indices of any shape."""
        return self.tensor[index.to(self.tensor.device)]


@dataclass(frozen=True)
class Bank:
    """Labelled rows to search in.

    Attributes:
        features: (M, D), L2-normalised, float16 or float32.
        labels: (M, L), share of each class among the labelled pixels of the row's cell.
    """

    features: Rows
    labels: Rows

    def __len__(self) -> int:
        return self.features.shape[0]

    def state_dict(self) -> dict[str, Tensor]:
        """Both as tensors."""
        return {"features": self.features.tensor, "labels": self.labels.tensor}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> Bank:
        """From ``state_dict``."""
        return cls(MemoryRows(state["features"]), MemoryRows(state["labels"]))


def cell_frequencies(
    label: np.ndarray, rows: int, columns: int, num_classes: int, ignore: int = IGNORE
) -> np.ndarray:
    """How often each class occurs in each cell of a map laid over a label map.

    A pixel belongs to the cell that holds its centre. Where the map is finer than the label map,
    pixels are first repeated, so that no cell goes empty.

    Args:
        label: (H, W) class ids or ``ignore``.
        rows, columns: h, w of the map.
        num_classes: L.
        ignore: id of pixels without a class; they count for nothing.

    Returns:
        (h w, L) int64 counts of pixels; a row of zeros has no labelled pixel.

    Raises:
        ValueError: an id outside [0, L) that is not ``ignore``.
    """
    label = label.repeat(-(-rows // label.shape[0]), axis=0)
    label = label.repeat(-(-columns // label.shape[1]), axis=1)
    r, c = (
        (2 * np.arange(pixels) + 1) * cells // (2 * pixels)
        for pixels, cells in zip(label.shape, (rows, columns), strict=True)
    )
    counted = label != ignore
    ids = label[counted].astype(np.int64)
    if ids.size and (ids.min() < 0 or ids.max() >= num_classes):
        raise ValueError(f"ids {ids.min()}..{ids.max()}, allowed are 0..{num_classes - 1}")
    cell = (r[:, None] * columns + c)[counted]
    counts = np.bincount(cell * num_classes + ids, minlength=rows * columns * num_classes)
    return counts.reshape(-1, num_classes)


def share(picture: int, pictures: int, rows: int) -> int:
    """How many of ``rows`` belong to a picture: all shares add up to it, none differ by over 1."""
    return (picture + 1) * rows // pictures - picture * rows // pictures


def pick_cells(counts: np.ndarray, most: int, how: Pick, generator: np.random.Generator) -> Tensor:
    """Which cells of a picture enter the memory.

    ``rare`` orders the cells by u * s, smallest first: u is uniform in [0, 1), s the sum over the
    classes that occur in the cell of the number of the picture's cells in which the class occurs.
    So a cell of classes that are rare in the picture comes early. ``uniform`` orders them by u.

    Args:
        counts: (h w, L) from ``cell_frequencies``.
        most: at most so many.
        how: see above.
        generator: the only source of randomness; it draws one number a cell, labelled or not.

    Returns:
        (n,) int64, ascending; cells without a labelled pixel are never among them.
    """
    occurs = counts > 0
    score = generator.random(len(counts))
    if how == "rare":
        score = score * (occurs @ occurs.sum(axis=0))
    labelled = np.flatnonzero(occurs.any(axis=1))
    first = labelled[np.argsort(score[labelled], kind="stable")[:most]]
    return torch.from_numpy(np.sort(first))


def bank_rows(
    features: Tensor,
    label: np.ndarray,
    num_classes: int,
    *,
    most: int,
    pick: Pick = "rare",
    seed: int = 0,
    picture: int = 0,
    ignore: int = IGNORE,
    dtype: torch.dtype = torch.float16,
) -> tuple[Tensor, Tensor]:
    """The rows that one picture gives to the memory.

    Args:
        features: (D, h, w) float, not normalised.
        label: (H, W) class ids or ``ignore``.
        num_classes: L.
        most: at most so many rows.
        pick: see ``pick_cells``.
        seed, picture: what the choice is a function of.
        ignore: id without a class.
        dtype: of the result.

    Returns:
        (n, D) unit rows and (n, L) class shares, on the processor.
    """
    h, w = features.shape[-2:]
    counts = cell_frequencies(label, h, w, num_classes, ignore)
    chosen = pick_cells(counts, most, pick, rng(seed, _PICK, picture))
    rows = features.flatten(1).T[chosen.to(features.device)]
    rows = unit_rows(rows).cpu()
    shares = torch.from_numpy(counts)[chosen].double()
    shares = shares / shares.sum(1, keepdim=True)
    return rows.to(dtype), shares.to(dtype)


def unit_rows(rows: Tensor) -> Tensor:
    """Rows (N, D) divided by their length, float32; a row of zeros stays."""
    return functional.normalize(rows.float(), dim=1)


def build_bank(pictures: Iterable[tuple[Tensor, Tensor]]) -> Bank:
    """A bank in memory from the rows of each picture, see ``bank_rows``.

    Raises:
        UsageError: no labelled cell in any of them.
    """
    parts = list(pictures)
    if not sum(len(rows) for rows, _ in parts):
        raise no_cells()
    features, labels = (torch.cat(column) for column in zip(*parts, strict=True))
    return Bank(MemoryRows(features), MemoryRows(labels))


def no_cells() -> UsageError:
    """There is nothing to search in."""
    return UsageError(
        "no cell of the training pictures holds a labelled pixel",
        needed="at least one",
        fix="check the label subset and the ignore label",
    )
