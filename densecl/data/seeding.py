"""Random numbers as a function of what they are for, not of when they are drawn."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np


def derive_seed(seed: int, *ids: int, bits: int = 63) -> int:
    """A seed that depends on every id and on their order and number.

    Args:
        seed: the seed of the run.
        ids: what the numbers are for, e.g. ``(epoch, sample, view)``; any integers.
        bits: size of the result, at most 256.

    Returns:
        An integer in ``[0, 2**bits)``, the same on every platform and Python version.
    """
    text = ",".join(str(int(value)) for value in (seed, *ids))
    digest = blake2b(text.encode(), digest_size=32).digest()
    return int.from_bytes(digest, "little") % (1 << bits)


def rng(seed: int, *ids: int) -> np.random.Generator:
    """A generator of its own for one (seed, ids) tuple.

    Two tuples that differ anywhere give independent streams, so an augmentation depends on
    ``(seed, epoch, sample, view)`` alone: not on the worker, its count, or what ran before.

    Args:
        seed: the seed of the run.
        ids: what the numbers are for, e.g. ``(epoch, sample, view)``; any integers.

    Source: the counter-based Philox generator, Salmon et al. 2011; keyed by a BLAKE2b hash.
    """
    return np.random.Generator(np.random.Philox(key=derive_seed(seed, *ids, bits=128)))
