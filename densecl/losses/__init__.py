"""Losses: pure functions of rows, pairs and keys; no gathering, queue or logging inside."""

from __future__ import annotations

from densecl.losses.info_nce import info_nce
from densecl.losses.numerics import normalise
from densecl.losses.pair_info_nce import pair_info_nce
from densecl.losses.partition import log_partition
from densecl.losses.reduction import pair_shares
from densecl.losses.regression import cosine_regression

__all__ = [
    "cosine_regression",
    "info_nce",
    "log_partition",
    "normalise",
    "pair_info_nce",
    "pair_shares",
]
