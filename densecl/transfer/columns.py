"""What a run is scored by: the first column carries the differences and the verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Column:
    """One number of a run's result.

    Attributes:
        key: of the result.
        title: of the table's column.
        better: which way is an improvement; ``none`` where a number only describes.
        unit: of the number, "" for a share or a ratio.
        digits: after the point.
    """

    key: str
    title: str
    better: Literal["higher", "lower", "none"] = "higher"
    unit: str = ""
    digits: int = 3


MIOU = Column("miou", "mIoU")
