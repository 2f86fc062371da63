"""What both halves of the quickstart share: the clock of their parts, and what a half leaves."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from densecl.engine.config import load_config
from densecl.engine.domain import IMAGES, Domain
from densecl.engine.runner import pretrain
from densecl.transfer.table import Table

WHOLE = 0.3
"""A part that took a smaller share of its expected time was finished by an earlier call."""


@dataclass(frozen=True)
class Half:
    """What one half leaves.

    Attributes:
        title: heading of its table.
        table: rows beside scratch and controls.
        checkpoints: row name -> weights.
        exports: files for other libraries.
        pictures: to look at.
        notes: what a reader of the table has to know.
    """

    title: str
    table: Table
    checkpoints: dict[str, Path]
    exports: list[Path]
    pictures: list[Path]
    notes: str = ""


class Clock:
    """Seconds of each part, and how long the others will take.

    Args:
        expected: part -> seconds on two idle cores, in order.
    """

    def __init__(self, expected: Mapping[str, float]) -> None:
        self.expected = dict(expected)
        self.seconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time what is inside, say so, and say what is left.

        Raises:
            KeyError: a part that was not announced.
        """
        number = list(self.expected).index(name) + 1 if name in self.expected else 0
        if not number:
            raise KeyError(name)
        left = f"{self.left() / 60:.0f} min left in all"
        print(f"\n== {number}/{len(self.expected)} {name} ({left})", flush=True)
        began = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - began, 1)
        print(f"== {name}: {self.seconds[name]:.0f} s", flush=True)

    def left(self) -> float:
        """Seconds of the parts to come, at the pace of those that this call did whole."""
        whole = {n: s for n, s in self.seconds.items() if s > WHOLE * self.expected[n]}
        pace = sum(whole.values()) / sum(self.expected[n] for n in whole) if whole else 1.0
        return pace * sum(s for name, s in self.expected.items() if name not in self.seconds)


def pretrain_into(
    out: Path, name: str, config: str, options: Mapping[str, Any], domain: Domain = IMAGES
) -> Path:
    """Pretrain, or pick up what an earlier call finished; returns the checkpoint.

    Raises:
        SystemExit: it was stopped.
    """
    settings = load_config(config, options, domain=domain)
    result = pretrain(settings, work_dir=out / config, resume="auto", domain=domain)
    if result.reason != "finished" or result.checkpoint is None:
        raise SystemExit(f"stopped in pretraining {name}; start again to go on")
    return result.checkpoint


def file_name(row: str) -> str:
    """A row's name in lower case without blanks, up to a bracket."""
    return row.partition(" (")[0].lower().replace(" ", "")
