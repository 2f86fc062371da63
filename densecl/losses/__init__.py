"""Losses: pure functions of rows, pairs and keys; no gathering, queue or logging inside."""

from __future__ import annotations

from densecl.losses.hardest_contrastive import hardest_contrastive
from densecl.losses.info_nce import info_nce
from densecl.losses.numerics import normalise
from densecl.losses.pair_info_nce import pair_info_nce
from densecl.losses.partition import log_partition
from densecl.losses.partition_info_nce import partition_info_nce
from densecl.losses.reduction import pair_shares
from densecl.losses.region_info_nce import region_info_nce
from densecl.losses.regression import cosine_regression

__all__ = [
    "cosine_regression",
    "hardest_contrastive",
    "info_nce",
    "log_partition",
    "normalise",
    "pair_info_nce",
    "pair_shares",
    "partition_info_nce",
    "region_info_nce",
]
