"""Axes of the charts: their range, their marks, and where a value lies on them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from densecl.report.element import Markup, tag
from densecl.report.number import MINUS


def tick(value: float, where: str, side: str, text: str) -> Markup:
    """A mark's text; ``where`` is its distance from the ``side``, in percent."""
    return tag("span", text, style=f"{side}:{where}", class_="zero" if value == 0 else None)


def padded(low: float, high: float, share: float) -> tuple[float, float]:
    """Both ends moved outwards; a range of one value becomes one about it."""
    if high - low < 1e-12:
        room = abs(high) * 0.1 or 1.0
        return low - room, high + room
    return low - share * (high - low), high + share * (high - low)


def ticks(low: float, high: float, count: int) -> list[float]:
    """At most ``count`` + 1 round numbers within a range: multiples of 1, 2 or 5 times ten^k."""
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [k * step for k in range(first, last + 1)]


def tick_text(value: float, marks: Sequence[float]) -> str:
    """A mark with the digits that the marks need to differ, and no more."""
    if value == 0:
        return "0"
    step = min((b - a for a, b in pairwise(marks)), default=abs(value))
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:.{digits}f}".replace("-", MINUS)


def place(value: float, start: float, end: float) -> str:
    """Where a value lies between two ends, in percent; the ends may run downwards."""
    return percent((value - start) / (end - start))


def percent(share: float) -> str:
    """With two digits, so that the page is alike everywhere."""
    return f"{share * 100:.2f}%"
