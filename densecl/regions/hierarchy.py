"""Trees of regions: neighbours merged one by one, the most alike first."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from densecl.regions.connected import adjacency, region_means
from densecl.regions.segments import region_sizes


@dataclass
class MergeTree:
    """A binary tree over R regions: merge m makes node R + m.

    Attributes:
        children: (R - 1, 2) int64, the two nodes that each merge joins.
        height: (R - 1,) float64, rising; how unlike they were.
    """

    children: np.ndarray
    height: np.ndarray

    @property
    def num_regions(self) -> int:
        """R."""
        return len(self.children) + 1

    def cut(self, regions: int) -> np.ndarray:
        """(R,) int64: which of ``regions`` groups each region is in, by first appearance.

        With fewer regions than asked for, each is its own group.
        """
        if regions < 1:
            raise ValueError(f"a cut into {regions} groups")
        return self._groups(max(0, self.num_regions - regions))

    def cut_at(self, height: float) -> np.ndarray:
        """(R,) int64 groups of regions whose merges are no higher than ``height``."""
        return self._groups(int(np.searchsorted(self.height, height, side="right")))

    def levels(self, regions: Sequence[int]) -> np.ndarray:
        """(R, L) int32 ancestors, coarse to fine; the last column is the regions themselves.

        Args:
            regions: number of groups of each coarser level, rising.
        """
        columns = [self.cut(count) for count in regions]
        return np.stack([*columns, np.arange(self.num_regions)], axis=1).astype(np.int32)

    def heights(self) -> np.ndarray:
        """(R, R) float64 height at which two regions meet, 0 on the diagonal: an ultrametric."""
        table = np.zeros((self.num_regions, self.num_regions))
        members = [[region] for region in range(self.num_regions)]
        for (a, b), height in zip(self.children.tolist(), self.height.tolist(), strict=True):
            table[np.ix_(members[a], members[b])] = height
            table[np.ix_(members[b], members[a])] = height
            members.append(members[a] + members[b])
        return table

    def _groups(self, merges: int) -> np.ndarray:
        """Groups of the regions after the first merges."""
        count = self.num_regions
        root = np.arange(count + merges)
        for merge in range(merges - 1, -1, -1):
            # from the top, so that a node knows its root before its children ask
            root[self.children[merge]] = root[count + merge]
        _, first, inverse = np.unique(root[:count], return_index=True, return_inverse=True)
        rank = np.empty(len(first), np.int64)
        rank[np.argsort(first)] = np.arange(len(first))
        return rank[inverse]


def merge_tree(ids: np.ndarray, image: np.ndarray) -> MergeTree:
    """Merge neighbouring regions by Ward's rule on their mean colour.

    The cost of a merge is the growth of the squared distance of all pixels to their region's mean,
    n_a n_b / (n_a + n_b) |mean_a - mean_b|^2, in CIE Lab; only regions that touch are merged. As
    new neighbours may be more alike than the two merged before, heights are held from falling:
    h_m = max(h_(m-1), cost), so that cuts are nested and heights an ultrametric (as those of
    Arbelaez et al., TPAMI 2011, whose learned contours this does without). Parts that do not touch
    are joined last. Ties go to the lower nodes.

    Args:
        ids: (H, W) integer, 0 to R - 1, -1 = none.
        image: (H, W, 3) uint8, RGB.

    Raises:
        ValueError: no region at all.
    """
    size = region_sizes(ids)
    count = len(size)
    if not count:
        raise ValueError("a tree needs at least one region")
    nodes = 2 * count - 1
    weight = np.concatenate([size, np.zeros(count - 1)]).astype(np.float64)
    mean = np.concatenate([region_means(ids, lab(image)), np.zeros((count - 1, 3))])
    near: list[set[int]] = [set() for _ in range(nodes)]
    for a, b in adjacency(ids)[0].tolist():
        near[a].add(b)
        near[b].add(a)

    def cost(a: int, b: int) -> float:
        apart = mean[a] - mean[b]
        return float(weight[a] * weight[b] / (weight[a] + weight[b]) * (apart @ apart))

    heap = [(cost(a, b), a, b) for a in range(count) for b in near[a] if a < b]
    heapq.heapify(heap)
    alive = set(range(count))
    children: list[tuple[int, int]] = []
    height: list[float] = []
    top = 0.0
    while len(alive) > 1:
        if not heap:
            # nothing touches any more: from here on everything does
            rest = sorted(alive)
            for a in rest:
                near[a] = alive - {a}
            heap = [(cost(a, b), a, b) for a in rest for b in rest if a < b]
            heapq.heapify(heap)
        price, a, b = heapq.heappop(heap)
        if a not in alive or b not in alive:
            continue
        node = count + len(children)
        top = max(top, price)
        children.append((a, b))
        height.append(top)
        weight[node] = weight[a] + weight[b]
        mean[node] = (weight[a] * mean[a] + weight[b] * mean[b]) / weight[node]
        near[node] = (near[a] | near[b]) - {a, b}
        alive -= {a, b}
        alive.add(node)
        for other in sorted(near[node]):
            near[other] -= {a, b}
            near[other].add(node)
            heapq.heappush(heap, (cost(other, node), other, node))
    return MergeTree(np.array(children, np.int64).reshape(-1, 2), np.array(height))


def lab(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) float32 CIE Lab of an RGB image, L from 0 to 100."""
    return cv2.cvtColor(image.astype(np.float32) / 255.0, cv2.COLOR_RGB2LAB)
