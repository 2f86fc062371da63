"""Exact nearest rows by inner product, over a bank of any size, in bounded memory.

The bank is read in blocks, each block meets the queries in tiles, and a row is looked at closely
only where it can still enter a query's list. Two forms find those rows:

- plain: the products in float32.
- screened: the products in bfloat16, of rows with their common mean taken away. Rounding moves a
  product by at most ``SLACK`` times the lengths of both factors (Cauchy-Schwarz), so whatever lies
  further than that below a query's k-th best cannot enter, and the rest is computed in float32.
  Where the features are so alike that too much remains, the tile falls back to the plain form.

Both give the same rows, but for scores that float32 cannot tell apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from densecl.transfer.retrieval.bank import Rows

Screen = Literal["auto", "on", "off"]
BLOCK, TILE = 4096, 1024
"""Rows of the bank, and queries, that meet at once: their products stay in the cache."""
FIRST = 256
"""Rows of the first block where k is large; the blocks then double, so that the lists fill up
gradually."""
GROUP = 32
"""Rows that are judged by their maximum."""
BITS = {torch.bfloat16: torch.int16, torch.float32: torch.int32}
SLACK = 2**-7 * 1.01
"""Two factors rounded to 8 significant bits, and float32 sums."""
CROWDED = 1 / 8
"""Share of a tile's groups above which screening does not pay."""
PAUSE = 8
"""Blocks that then go by before it is tried again."""
PARTS = 3
"""Numbers of 8 significant bits that make up one of 24."""
SAMPLE = 4096
"""Rows that the common mean is taken over."""


@dataclass(frozen=True)
class Neighbours:
    """The nearest rows of each query.

    Attributes:
        score: (Q, k) float32 inner products, descending.
        index: (Q, k) int64 rows of the bank; of equal scores the lower index comes first.
    """

    score: Tensor
    index: Tensor


def top_k(
    queries: Tensor,
    rows: Rows,
    k: int,
    *,
    screen: Screen = "auto",
    block: int = BLOCK,
    tile: int = TILE,
) -> Neighbours:
    """The k rows of the bank with the largest inner product.

    Args:
        queries: (Q, D) float; where they lie decides where the search runs.
        rows: (M, D) float16 or float32, M >= 1.
        k: how many; at most M are given.
        screen: ``auto`` screens where the processor multiplies bfloat16 natively.
        block, tile: rows and queries that meet at once; they decide speed and memory, and of the
            result only the order of scores that float32 cannot tell apart.

    Returns:
        min(k, M) rows of each query. Memory beside it: a few times ``block * tile`` numbers.

    Raises:
        ValueError: shapes disagree, k < 1, or a bank without rows.
    """
    count, dim = rows.shape
    if queries.ndim != 2 or queries.shape[1] != dim or k < 1 or count < 1:
        raise ValueError(f"queries {tuple(queries.shape)}, rows {tuple(rows.shape)}, k = {k}")
    k = min(k, count)
    queries = queries.detach().float()
    if screen == "auto":
        screen = "on" if queries.device.type == "cpu" and _native_bfloat16() else "off"
    tiles = [_Tile(part, k) for part in queries.split(max(1, tile))]
    if screen == "on":
        mean = rows.take(_sample(count)).to(queries.device).float().mean(0)
        for each in tiles:
            each.centre(mean)
    bounds = list(_bounds(count, block if k * GROUP <= block else max(FIRST, k), max(1, block)))
    for (start, stop), part in zip(bounds, rows.blocks(bounds), strict=True):
        exact = _padded(part.to(queries.device).float())
        screened = None
        # in random order a row after n others enters with probability k / n
        if screen == "on" and k * GROUP < CROWDED * start:
            screened = _Screened.of(exact, mean)
        for each in tiles:
            each.meet(exact, stop - start, start, screened)
    score, index = (
        torch.cat([getattr(each, name) for each in tiles]) for name in ("score", "index")
    )
    return Neighbours(score, index)


class _Screened(NamedTuple):
    """Rows for screening: (n, D + PARTS) bfloat16, the length of their mean, the largest distance
    to it."""

    rows: Tensor
    mean: float
    furthest: float

    @classmethod
    def of(cls, rows: Tensor, mean: Tensor) -> _Screened:
        """Of rows (n, D) float32 and their rough mean (D,).

        The product of a query q and a row y = c + m is q m + (q - m) c + m c. The first belongs to
        the query, the last to the row: it stands in further columns, split into what bfloat16
        can hold, which meet ones. Only the middle one is rounded, and it is small.
        """
        centred = rows - mean
        rest = centred @ mean
        parts = []
        for _ in range(PARTS):
            parts.append(rest.bfloat16())
            rest = rest - parts[-1].float()
        furthest = float(torch.linalg.vector_norm(centred, dim=1).max())
        together = torch.cat([centred.bfloat16(), torch.stack(parts, dim=1)], dim=1)
        return cls(together, float(torch.linalg.vector_norm(mean)), furthest)


class _Tile:
    """Some queries and the best rows they have met."""

    def __init__(self, queries: Tensor, k: int) -> None:
        self.queries = queries
        self.k = k
        self.pause = 0
        self.score = queries.new_full((len(queries), k), -torch.inf)
        self.index = torch.full((len(queries), k), -1, device=queries.device)

    def centre(self, mean: Tensor) -> None:
        """Prepare screening of rows without their mean."""
        part = self.queries - mean
        ones = part.new_ones(len(part), PARTS)
        self.coarse = torch.cat([part, ones], dim=1).bfloat16()
        self.shift = self.queries @ mean
        self.length = torch.linalg.vector_norm(self.queries, dim=1)
        self.part_length = torch.linalg.vector_norm(part, dim=1)

    def floor(self, mean: float, furthest: float) -> Tensor:
        """(Q,) bfloat16: a screened product below it is of a row that cannot enter.

        Args:
            mean: length of the rows' mean.
            furthest: largest distance of a row to it.
        """
        rounding = 2 * self.queries.shape[1] * 2.0**-24 * (self.length + mean) * (furthest + mean)
        slack = SLACK * self.part_length * furthest + rounding
        # rounding keeps order: what lies above the floor does so after both are rounded
        return (self.score[:, -1] - self.shift - slack).bfloat16()

    def meet(self, rows: Tensor, count: int, start: int, screened: _Screened | None) -> None:
        """Take in a block of rows, all of higher index than those met before.

        Args:
            rows: (n, D) float32, n a multiple of ``GROUP``; those from ``count`` on are padding.
            count: rows of the bank among them.
            start: index of the first.
            screened: the same rows for screening, or None.
        """
        self.pause -= 1
        if screened is not None and self.pause < 0:
            floor = self.floor(screened.mean, screened.furthest)
            products = torch.mm(screened.rows, self.coarse.T)
            reached = _reached(products, floor, torch.ge)
            if reached.float().mean() <= CROWDED:
                query, row = _within(reached, products, floor, torch.ge)
                query, row = query[row < count], row[row < count]
                self._enter(query, row, start, _dots(self.queries, rows, query, row))
                return
            self.pause = PAUSE
        products = torch.mm(rows, self.queries.T)
        products[count:] = -torch.inf
        floor = self.score[:, -1]
        if start < len(rows) and self.k <= len(rows) // GROUP:
            # the lists are filling up: k groups hold a row that is no worse than this
            most = _groups(products).amax(1).T.contiguous()
            least = most.topk(self.k, dim=1).values.amin(1)
            floor = torch.maximum(floor, torch.nextafter(least, least.new_tensor(-torch.inf)))
        query, row = _within(_reached(products, floor, torch.gt), products, floor, torch.gt)
        self._enter(query, row, start, products[row, query])

    def _enter(self, query: Tensor, row: Tensor, start: int, score: Tensor) -> None:
        """Merge candidates, in order of query and then of row."""
        # an equal score met before has the lower index
        better = score > self.score[query, -1]
        if not better.any():
            return
        query, index, score = query[better], row[better] + start, score[better]
        number = torch.bincount(query, minlength=len(self.queries))
        met = number.nonzero().flatten()
        place = torch.arange(len(query), device=query.device)
        place -= (number.cumsum(0) - number)[query]
        line = torch.searchsorted(met, query)
        width = int(number.max())
        scores = score.new_full((len(met), width), -torch.inf)
        scores[line, place] = score
        indices = index.new_full((len(met), width), -1)
        indices[line, place] = index
        scores = torch.cat([self.score[met], scores], dim=1)
        indices = torch.cat([self.index[met], indices], dim=1)
        # stable: of equals the one met first stays first
        scores, order = scores.sort(dim=1, descending=True, stable=True)
        self.score[met] = scores[:, : self.k]
        self.index[met] = indices.gather(1, order[:, : self.k])


def _reached(
    products: Tensor, floor: Tensor, reaches: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """(n / GROUP, Q) which groups of rows hold a product (n, Q) that reaches its floor (Q,)."""
    groups = _groups(products)
    if (floor > 0).all():
        # positive numbers are in the order of their bits, negative ones are below as integers too;
        # the processor finds the largest integer several times as fast
        groups = groups.view(BITS[products.dtype])
    return reaches(groups.amax(1).view(products.dtype), floor)


def _groups(products: Tensor) -> Tensor:
    """(n, Q) as (n / GROUP, GROUP, Q)."""
    return products.view(len(products) // GROUP, GROUP, products.shape[1])


def _within(
    reached: Tensor, products: Tensor, floor: Tensor, reaches: Callable[[Tensor, Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Queries and rows of the products that reach the floor, in order of both.

    Args:
        reached: (n / GROUP, Q) which groups hold one.
        products: (n, Q). floor: (Q,).
        reaches: ``torch.ge`` or ``torch.gt``.
    """
    query, group = reached.T.nonzero(as_tuple=True)
    at, inside = reaches(_groups(products)[group, :, query], floor[query][:, None]).nonzero(
        as_tuple=True
    )
    return query[at], group[at] * GROUP + inside


def _dots(queries: Tensor, rows: Tensor, query: Tensor, row: Tensor) -> Tensor:
    """(n,) inner products of pairs; the same sums in the same order wherever the rows lie."""
    if not len(query):
        return queries.new_empty(0)
    parts = zip(query.split(8 * BLOCK), row.split(8 * BLOCK), strict=True)
    return torch.cat([(queries[a] * rows[b]).sum(1) for a, b in parts])


def _padded(rows: Tensor) -> Tensor:
    """Rows (n, D) and zeros up to a multiple of ``GROUP``."""
    missing = -len(rows) % GROUP
    return torch.nn.functional.pad(rows, (0, 0, 0, missing)) if missing else rows


def _bounds(count: int, first: int, block: int) -> Iterator[tuple[int, int]]:
    start, size = 0, min(first, block)
    while start < count:
        stop = min(start + size, count)
        yield start, stop
        start, size = stop, min(max(stop, 1), block)


def _sample(count: int) -> Tensor:
    return torch.linspace(0, count - 1, min(count, SAMPLE), dtype=torch.float64).long()


def _native_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 itself; emulated it is slower than float32."""
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        if getattr(torch.cpu, name, bool)():
            return True
    return False
