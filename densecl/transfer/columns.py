"""What a run is scored by: the first column carries the differences and the verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Better = Literal["higher", "lower", "none"]


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
    better: Better = "higher"
    unit: str = ""
    digits: int = 3

    @property
    def heading(self) -> str:
        """The title, with the unit where there is one."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


MIOU = Column("miou", "mIoU")


def columns_of(task: Any) -> tuple[Column, ...]:
    """The columns of a run, first the one that differences and verdicts are of."""
    return getattr(task, "columns", (MIOU,))
