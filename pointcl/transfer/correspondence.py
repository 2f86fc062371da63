"""Where a point is found again: matches by cosine, what they are worth.

Pure functions: of the next scan, whose places are metres, and of a picture, whose places are cells
of a feature map.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from densecl.transfer.correspondence import Recall, match_by_cosine

BLOCK = 4096
"""Queries that are compared with all candidates at once."""


def nearest_by_cosine(rows: Tensor, candidates: Tensor) -> Tensor:
    """Index of the most similar candidate of each row, the first of equally similar ones.

    Args:
        rows: (Q, D) float.
        candidates: (K, D) float, K >= 1.

    Returns:
        (Q,) int64.
    """
    columns = candidates.T
    found = [match_by_cosine(part.T, columns) for part in rows.split(BLOCK)]
    return torch.cat(found) if found else torch.zeros(0, dtype=torch.int64)


def nearest_place(at: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest of some places: distance (Q,) float64 and index (Q,) int64.

    Args:
        at: (Q, d) float64.
        places: (K, d) float64, K >= 1.
    """
    distance, index = cKDTree(places.numpy()).query(at.numpy())
    return torch.from_numpy(distance), torch.from_numpy(index)


class PlaceTally:
    """Counts matches that lie near the exact place.

    Args:
        radii: Euclidean distances from the match to the exact place, in the unit of the places. A
            match at the distance itself counts.
    """

    def __init__(self, radii: Sequence[float]) -> None:
        self.radii = tuple(radii)
        self.queries = 0
        self._hits: dict[str, dict[float, float]] = {}

    def add(
        self, places: Tensor, target: Tensor, match: Tensor, still: Tensor | None = None
    ) -> Recall:
        """Count the queries of one pair and return what this pair alone gives.

        Args:
            places: (K, d) float64, of the candidates.
            target: (Q, d) float64, exact places of the queries.
            match: (Q,) int64, the candidate that each query took.
            still: (Q,) int64, the candidate it would take if nothing had moved; None = not asked.
        """
        queries = len(target)
        if not queries:
            return Recall()
        tree, goal = cKDTree(places.numpy()), target.numpy()
        taken = {"recall": match} if still is None else {"recall": match, "still": still}
        found: dict[str, dict[float, float]] = {}
        for name, chosen in taken.items():
            missed = (places[chosen] - target).norm(dim=1)
            found[name] = {r: float((missed <= r).sum()) for r in self.radii}
        found["chance"] = {
            r: float(tree.query_ball_point(goal, r, return_length=True).sum()) / len(places)
            for r in self.radii
        }
        for name, hits in found.items():
            sums = self._hits.setdefault(name, dict.fromkeys(self.radii, 0.0))
            for radius, count in hits.items():
                sums[radius] += count
        self.queries += queries
        return _shares(found, queries)

    def recall(self) -> Recall:
        """Shares over all queries that were added.

        Raises:
            ValueError: there were none.
        """
        if not self.queries:
            raise ValueError("no query was counted")
        return _shares(self._hits, self.queries)


def _shares(hits: Mapping[str, Mapping[float, float]], queries: int) -> Recall:
    shares = {name: {r: n / queries for r, n in counts.items()} for name, counts in hits.items()}
    return Recall(**shares, queries=queries)


def named(recall: Recall, radii: Sequence[float]) -> dict[str, float]:
    """Shares under the keys of columns: ``recall_1`` is that of the first radius, and so on."""
    shares = {"recall": recall.recall, "chance": recall.chance, "still": recall.still}
    return {
        f"{name}_{number}": share[radius]
        for name, share in shares.items()
        for number, radius in enumerate(radii, 1)
        if share
    }
