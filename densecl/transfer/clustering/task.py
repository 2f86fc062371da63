"""k-means of dense features as a run of a table: do the clusters follow the classes?

Many clusters, each named by the majority of its pixels (over-clustering), or as many clusters as
classes, matched one to one (unsupervised segmentation). Labels name the clusters, nothing more.

Source: Ziegler and Asano 2022, "Self-Supervised Learning of Object Parts for Semantic
Segmentation", section 4.1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from densecl.diagnostics.segmentation_metrics import IGNORE, mean_iou
from densecl.transfer.clustering.lloyd import Metric, kmeans
from densecl.transfer.clustering.matching import (
    NOTHING,
    Unmatched,
    greedy,
    hungarian,
    join_clusters,
    purity,
)
from densecl.transfer.clustering.reduction import Moments
from densecl.transfer.columns import Column
from densecl.transfer.features import FrozenInput
from densecl.transfer.images import LabelledImages
from densecl.transfer.initialisation import Init
from densecl.transfer.map_stream import stream_maps
from densecl.transfer.prediction_sheet import prediction_sheet, shown
from densecl.transfer.scores import plain_iou
from densecl.transfer.untrained import Restored, Untrained

Matching = Literal["greedy", "hungarian"]
MATCHINGS = {"greedy": greedy, "hungarian": hungarian}
TITLES = {"greedy": "mIoU, greedy", "hungarian": "mIoU, Hungarian"}


@dataclass(frozen=True)
class OverclusteringSpec(Untrained):
    """Everything that decides a clustering but weights, pictures and machine.

    Attributes:
        input: the backbone and how it is read.
        num_classes: L.
        clusters: K; None = as many as classes.
        matching: ``greedy`` names each cluster by the majority of its pixels, ``hungarian`` matches
            one to one; the table's first column is of this one, the other stands beside it.
        unmatched: what Hungarian matching makes of clusters without a class, see ``join_clusters``.
        background: id of that class.
        components: principal components of the standardised features; None = all channels.
        metric: of k-means.
        seeds: of k-means; scores are means over them.
        restarts, iterations: of k-means, each seed.
        mask: (H, W) that clusters and labels are compared at; None = the labels' own size.
        ignore: label id without a class.
        fitted_on: what the clusters are fitted to: the pictures that are scored.
    """

    input: FrozenInput
    num_classes: int
    clusters: int | None = 500
    matching: Matching = "greedy"
    unmatched: Unmatched = "wrong"
    background: int = 0
    components: int | None = 50
    metric: Metric = "euclidean"
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    restarts: int = 1
    iterations: int = 50
    mask: tuple[int, int] | None = (100, 100)
    ignore: int = IGNORE
    fitted_on: Literal["the scored pictures"] = "the scored pictures"

    @property
    def backbone(self) -> Mapping[str, Any]:
        """Config of the backbone."""
        return self.input.backbone

    @property
    def columns(self) -> tuple[Column, ...]:
        """Mean IoU under the protocol's matching, then under the other, and purity."""
        other = _other(self.matching)
        return (
            Column("miou", TITLES[self.matching]),
            Column(f"miou_{other}", TITLES[other]),
            Column("purity", "purity"),
        )

    def select(self, dataset: Any, indices: Sequence[int] | None = None) -> LabelledImages:
        """The pictures of a data set at the indices given."""
        return LabelledImages(dataset, indices, resize=self.input.resize)

    def restore(
        self, state: Mapping[str, Tensor], init: Init, *, seed: int, device: str | torch.device
    ) -> Restored:
        """The backbone."""
        return Restored(self.input.open(init, seed, device))

    def score(
        self, trained: Restored, items: LabelledImages, device: str | torch.device
    ) -> dict[str, Any]:
        """Cluster the pictures and score them, for each seed.

        Returns:
            Means over the seeds; ``confusion`` is summed over them, without what was called
            nothing.
        """
        rows, shapes = self._reduced(trained.backbone, items)
        other = _other(self.matching)
        found: list[dict[str, float]] = []
        joined = np.zeros((self.num_classes + 1,) * 2, np.int64)
        singles: dict[str, list[float]] = {}
        for seed in self.seeds:
            each = np.stack(list(self._counts(self._cluster(rows, shapes, seed), items)))
            counts = each.sum(axis=0)
            matching = MATCHINGS[self.matching](counts)
            confusion = self._joined(counts, matching)
            joined += confusion
            found.append(
                {
                    "miou": mean_iou(confusion),
                    f"miou_{other}": mean_iou(self._joined(counts, MATCHINGS[other](counts))),
                    "purity": purity(counts),
                }
            )
            for position, own in enumerate(each):
                score = mean_iou(self._joined(own, matching))
                if math.isfinite(score):
                    singles.setdefault(items.name(position), []).append(score)
        return {
            **{key: _mean([scores[key] for scores in found]) for key in found[0]},
            "iou": plain_iou(joined)[:-1],
            "confusion": joined[:-1, :-1].tolist(),
            "items": {name: {"miou": _mean(scores)} for name, scores in singles.items()},
        }

    def _reduced(
        self, backbone: nn.Module, items: LabelledImages
    ) -> tuple[Tensor, list[tuple[int, int]]]:
        """Cells of all pictures (N, d), reduced, and (h, w) of each picture."""
        moments = Moments()
        for mapped in stream_maps(self.input, backbone, items):
            moments.add(mapped.features.flatten(1).T)
        reduction = moments.reduction(self.components)
        rows, shapes = [], []
        for mapped in stream_maps(self.input, backbone, items):
            rows.append(reduction.apply(mapped.features.flatten(1).T.cpu()))
            shapes.append((mapped.features.shape[1], mapped.features.shape[2]))
        return torch.cat(rows), shapes

    def _cluster(
        self, rows: Tensor, shapes: Sequence[tuple[int, int]], seed: int
    ) -> list[np.ndarray]:
        """Cluster ids (h, w) of each picture."""
        clustering = kmeans(
            rows,
            self.clusters or self.num_classes,
            seed=seed,
            metric=self.metric,
            restarts=self.restarts,
            iterations=self.iterations,
        )
        parts = clustering.labels.split([h * w for h, w in shapes])
        return [part.view(h, w).numpy() for part, (h, w) in zip(parts, shapes, strict=True)]

    def _counts(self, maps: Sequence[np.ndarray], items: LabelledImages) -> Iterator[np.ndarray]:
        """(L, K) pixels of each class in each cluster, picture by picture.

        Raises:
            ValueError: a label outside [0, L) that is not ``ignore``.
        """
        width = self.clusters or self.num_classes
        for position, clusters in enumerate(maps):
            truth = items[position][1]
            size = self.mask or (truth.shape[0], truth.shape[1])
            truth, clusters = nearest(truth, size), nearest(clusters, size)
            counted = truth != self.ignore
            ids = truth[counted].astype(np.int64)
            if ids.max(initial=0) >= self.num_classes:
                raise ValueError(f"label {ids.max()}, allowed are 0..{self.num_classes - 1}")
            pairs = ids * width + clusters[counted]
            counts = np.bincount(pairs, minlength=self.num_classes * width)
            yield counts.reshape(self.num_classes, width)

    def _joined(self, counts: np.ndarray, matching: np.ndarray) -> np.ndarray:
        return join_clusters(counts, matching, self.unmatched, self.background)

    def pictures(
        self, trained: Mapping[str, Restored], items: LabelledImages, device: str | torch.device
    ) -> dict[str, np.ndarray]:
        """A few pictures with the truth and each row's clusters in their classes' colours.

        Clusters are those of the first seed; magenta is in none of the classes.
        """
        some = shown(items)
        places = [items.indices.index(index) for index in some.indices]
        instead = self.background if self.unmatched == "background" else self.num_classes
        predicted = {}
        for name, each in trained.items():
            rows, shapes = self._reduced(each.backbone, items)
            maps = self._cluster(rows, shapes, self.seeds[0])
            counts = np.stack(list(self._counts(maps, items))).sum(axis=0)
            matching = MATCHINGS[self.matching](counts)
            classes = np.where(matching == NOTHING, instead, matching)
            predicted[name] = [
                nearest(classes[maps[place]], some[position][1].shape)
                for position, place in enumerate(places)
            ]
        sheet = prediction_sheet(some, predicted, self.num_classes, self.ignore)
        return {"predictions": sheet}


def nearest(ids: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """An id map (h, w) at another size: each pixel takes the id at its centre."""
    row, column = (
        (2 * np.arange(new) + 1) * old // (2 * new)
        for new, old in zip(size, ids.shape, strict=True)
    )
    return ids[row[:, None], column]


def _other(matching: Matching) -> Matching:
    return "hungarian" if matching == "greedy" else "greedy"


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
