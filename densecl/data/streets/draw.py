"""Random draws of the world: keyed generators, and value bands that keep splits disjoint.

The world has its own generator so that its version alone decides its content.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

GROUPS = ("home", "val", "test")
"""Town groups: ``home`` towns serve the splits pretrain and train."""

BANDS: dict[str, tuple[int, ...]] = {"home": (0, 1, 4, 5, 8, 9), "val": (2, 7), "test": (3, 6)}
"""Tenths of every parameter's range that a group may draw from; no tenth has two owners."""


def rng(*ids: int | str) -> np.random.Generator:
    """A generator that is a function of ``ids`` alone (Philox, keyed by their hash)."""
    digest = hashlib.blake2b(repr(ids).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(digest, np.uint64)))


def banded(
    generator: np.random.Generator, group: str, low: float, high: float, size: Any = None
) -> Any:
    """Uniform in the tenths of [low, high) that belong to ``group``.

    Two groups interleave over the same range but never share a value, so that a change of
    split is a change of every banded parameter and still no extrapolation.

    Returns:
        A float, or a float64 array of shape ``size``.
    """
    band = generator.choice(np.array(BANDS[group]), size)
    # Keep clear of the band's upper edge so that rounding cannot reach the next band.
    value = low + (band + 0.999 * generator.random(size)) * (high - low) / 10
    return float(value) if size is None else value
