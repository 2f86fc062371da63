"""Ragged lists without loops: expansion, ranks, joins on equal ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor


def expand(count: Tensor) -> tuple[Tensor, Tensor]:
    """Enumerate a ragged list: owner i repeated count[i] times, and the position 0..count[i)-1.

    Args:
        count: (n,) int64 >= 0.

    Returns:
        owner and position, both (sum(count),) int64.
    """
    owner = torch.arange(len(count), device=count.device).repeat_interleave(count)
    start = count.cumsum(0) - count
    return owner, torch.arange(len(owner), device=count.device) - start[owner]


def blocks(count: Tensor, limit: int) -> Iterator[tuple[int, int]]:
    """Row ranges [a, b) with at most ``limit`` entries each (a single row may exceed it)."""
    total = count.cumsum(0)
    n = len(count)
    if n == 0 or int(total[-1]) <= limit:
        if n:
            yield 0, n
        return
    total_list = total.cpu()
    a, done = 0, 0
    while a < n:
        b = max(a + 1, int(torch.searchsorted(total_list, done + limit, right=True)))
        yield a, b
        a, done = b, int(total_list[b - 1])


def rank_in_run(ids: Tensor) -> Tensor:
    """Position of each entry within its run of equal, adjacent ids: (n,) int64."""
    n = len(ids)
    place = torch.arange(n, device=ids.device)
    if n == 0:
        return place
    begins = torch.ones(n, dtype=torch.bool, device=ids.device)
    begins[1:] = ids[1:] != ids[:-1]
    start = torch.where(begins, place, 0).cummax(0).values
    return place - start


def joint_ids(columns_a: Sequence[Tensor], columns_b: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """One int64 id per row such that two rows have the same id iff all their columns agree.

    Args:
        columns_a: int64 (n,) each.
        columns_b: int64 (m,) each, the same number of columns.
    """
    n = len(columns_a[0])
    joint: Tensor | None = None
    for a, b in zip(columns_a, columns_b, strict=True):
        values, rank = torch.unique(torch.cat([a, b]), return_inverse=True)
        if joint is not None:
            # Both ranks are below n + m, so the product stays far below 2^63.
            rank = torch.unique(joint * max(len(values), 1) + rank, return_inverse=True)[1]
        joint = rank
    assert joint is not None
    return joint[:n], joint[n:]


def join(
    a: Tensor,
    b: Tensor,
    *,
    max_per_row: int | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """All (i, j) with a[i] == b[j], ordered by (i, j).

    Args:
        a: (n,) int64.
        b: (m,) int64.
        max_per_row: keep at most so many j per i, drawn without replacement.
        generator: for the draw; the default generator otherwise.

    Returns:
        i and j, (P,) int64.
    """
    order = torch.argsort(b, stable=True)
    ordered = b[order]
    low = torch.searchsorted(ordered, a)
    count = torch.searchsorted(ordered, a, right=True) - low
    if max_per_row is None:
        i, within = expand(count)
    else:
        i, within = sample_positions(count, max_per_row, generator)
    return i, order[low[i] + within]


def sample_positions(
    count: Tensor, k: int, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """At most k distinct positions of each ragged row, uniform, without listing the row.

    Floyd's algorithm on all rows at once: O(n k^2) work, O(n k) memory.

    Args:
        count: (n,) int64 length of each row.
        k: > 0.
        generator: for the draw, on the device of ``count``.

    Returns:
        owner and position, ordered by both.
    """
    n, device = len(count), count.device
    chosen = torch.full((n, k), -1, dtype=torch.int64, device=device)
    for step in range(k):
        # Rows shorter than k start later: they end up with every position.
        top = count - k + step
        draw = torch.rand(n, generator=generator, device=device, dtype=torch.float64)
        pick = (draw * (top + 1).clamp(min=0)).long().clamp(max=top.clamp(min=0))
        taken = (chosen[:, :step] == pick.unsqueeze(1)).any(1)
        chosen[:, step] = torch.where(top < 0, -1, torch.where(taken, top, pick))
    chosen = chosen.sort(1).values
    kept = chosen >= 0
    owner = torch.arange(n, device=device).unsqueeze(1).expand(n, k)
    return owner[kept], chosen[kept]
