"""Named rules of validity: which keys may be negatives of which queries.

Each function takes what carries the ids of queries and keys (a ``PointSet``, ``Keys`` or the ids
themselves) and returns a ``Rule``. An id of -1 is unknown and equals nothing, itself included.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from densecl.pairs.keys import Keys, Rule
from densecl.pairs.pairs import Pairs
from densecl.pairs.point_set import PointSet

Ids = Tensor | PointSet | Keys


@dataclass
class _Differ:
    query: Tensor
    key: Tensor

    def __call__(self, query_rows: Tensor, key_rows: Tensor) -> Tensor:
        query, key = self.query[query_rows].unsqueeze(1), self.key[key_rows].unsqueeze(0)
        return (query != key) | (query < 0)


@dataclass
class _NotIn:
    sorted_keys: Tensor
    num_dst: int

    def __call__(self, query_rows: Tensor, key_rows: Tensor) -> Tensor:
        wanted = query_rows.unsqueeze(1) * self.num_dst + key_rows.unsqueeze(0)
        if self.sorted_keys.numel() == 0:
            return torch.ones_like(wanted, dtype=torch.bool)
        place = torch.searchsorted(self.sorted_keys, wanted)
        place.clamp_(max=len(self.sorted_keys) - 1)
        # Keys past the dst set (a queue stacked behind it) are in no pair.
        return (self.sorted_keys[place] != wanted) | (key_rows >= self.num_dst)


@dataclass
class _AllOf:
    rules: tuple[Rule, ...]

    def __call__(self, query_rows: Tensor, key_rows: Tensor) -> Tensor:
        allowed = torch.ones(
            len(query_rows), len(key_rows), dtype=torch.bool, device=query_rows.device
        )
        for rule in self.rules:
            allowed &= rule(query_rows, key_rows)
        return allowed


def not_same_sample(query: Ids, key: Ids) -> Rule:
    """Keys of the query's own batch item are no negatives."""
    return _Differ(_ids(query, "sample"), _ids(key, "sample"))


def not_same_source(query: Ids, key: Ids) -> Rule:
    """Keys of the query's own image or scan are no negatives, stale queue rows included."""
    return _Differ(_ids(query, "source"), _ids(key, "source"))


def not_same_region(query: Ids, key: Ids, *, region: str = "region", level: int = -1) -> Rule:
    """Keys of the query's own region (class, slot) are no negatives.

    Args:
        query: ids, a point set, or keys.
        key: the same.
        region: name of the region of a point set.
        level: which level of an id path (N, L) is compared; the last is the finest.

    Region ids are compared as they are: ids that count from 0 in every image have to be made
    unique first, or combined with ``not_same_sample``.
    """
    return _Differ(_ids(query, "region", region, level), _ids(key, "region", region, level))


def not_in(pairs: Pairs) -> Rule:
    """Keys that are a positive of the query are no negatives; by binary search in the pairs."""
    return _NotIn(torch.sort(pairs.key()).values, pairs.num_dst)


def all_of(*rules: Rule) -> Rule:
    """A key is a negative where every rule allows it."""
    return _AllOf(rules)


def _ids(holder: Ids, name: str, region: str = "region", level: int = -1) -> Tensor:
    if isinstance(holder, Tensor):
        ids = holder
    elif name == "region" and isinstance(holder, PointSet):
        found = holder.regions.get(region)
        if not isinstance(found, Tensor):
            raise ValueError(f"regions[{region!r}] must hold hard ids to be compared")
        ids = found
    else:
        ids = getattr(holder, name)
        if ids is None:
            raise ValueError(f"{type(holder).__name__} has no {name} ids")
    return ids[:, level] if ids.ndim == 2 else ids
