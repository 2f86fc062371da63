"""From the raw ids of a data set's label files to class ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from densecl.data.decode import UnreadableFileError
from densecl.errors import UsageError
from pointcl.data.scan import IGNORE


class ClassMap:
    """Names, colours and meaning of the ids of a label file.

    Args:
        classes: names; the class ids are 0 to len(classes) - 1.
        learning_map: raw id -> class id, or 255 = ignore.
        palette: RGB colour of each class; None = evenly spread colours.

    Attributes:
        classes: tuple of str.
        palette: (L, 3) uint8.
        learning_map: dict.

    Raises:
        UsageError: no class or too many, a raw id that leads to none of them, or another number
            of colours.
    """

    def __init__(
        self,
        classes: Sequence[str],
        learning_map: Mapping[int, int],
        palette: Sequence[Sequence[int]] | np.ndarray | None = None,
    ) -> None:
        self.classes = tuple(classes)
        self.learning_map = {int(raw): int(to) for raw, to in learning_map.items()}
        if not 0 < len(self.classes) <= IGNORE:
            raise UsageError(f"data.classes has {len(self.classes)}", needed=f"1 to {IGNORE}")
        wrong = {
            raw: to
            for raw, to in self.learning_map.items()
            if raw < 0 or not (0 <= to < len(self.classes) or to == IGNORE)
        }
        if wrong or not self.learning_map:
            raise UsageError(
                f"data.learning_map holds {wrong}",
                needed=f"raw id -> class id 0 to {len(self.classes) - 1}, or {IGNORE} = ignore",
                fix="correct data.learning_map or data.classes",
            )
        colours = spread_colours(len(self.classes)) if palette is None else np.asarray(palette)
        if colours.shape != (len(self.classes), 3):
            raise UsageError(
                f"data.palette is {colours.shape}", needed=f"({len(self.classes)}, 3): r, g, b each"
            )
        self.palette = colours.astype(np.uint8)
        self._table = np.full(max(self.learning_map) + 1, -1, np.int64)
        self._table[list(self.learning_map)] = list(self.learning_map.values())

    def __call__(self, raw: np.ndarray, path: Path) -> np.ndarray:
        """(N,) int64 class ids of the raw ids (N,) int of a file.

        Raises:
            UnreadableFileError: an id that the map does not know.
        """
        known = (raw >= 0) & (raw < len(self._table))
        label = np.where(known, self._table[np.where(known, raw, 0)], -1)
        if (label < 0).any():
            ids, counts = np.unique(raw[label < 0], return_counts=True)
            more = f", and {len(ids) - 1} more ids" if len(ids) > 1 else ""
            raise UnreadableFileError(
                path,
                f"raw label id {ids[0]} of {counts[0]} points{more}: none of the "
                f"{len(self.learning_map)} ids that data.learning_map lists",
            )
        return label


def spread_colours(many: int) -> np.ndarray:
    """(many, 3) uint8 RGB, told apart by eye where they are few."""
    # the golden ratio puts each new hue into the largest gap between those before it
    hue = (np.arange(many) * 0.6180339887498949) % 1 * 6
    rising = 1 - np.abs(hue % 2 - 1)
    one, none = np.ones(many), np.zeros(many)
    order = np.array([[0, 1, 2], [1, 0, 2], [2, 0, 1], [2, 1, 0], [1, 2, 0], [0, 2, 1]])
    parts = np.stack([one, rising, none])
    return (parts[order[hue.astype(int)], np.arange(many)[:, None]] * 225 + 30).astype(np.uint8)
