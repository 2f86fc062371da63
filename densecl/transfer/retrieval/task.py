"""Dense retrieval as a run of a table: nothing is trained, cells vote for their neighbours' labels.

Source: Balažević et al. 2023, "Towards In-Context Scene Understanding", section 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from densecl.diagnostics.segmentation_metrics import IGNORE, confusion_matrix, mean_iou
from densecl.transfer.clustering.matching import hungarian, join_clusters
from densecl.transfer.columns import MIOU, Column
from densecl.transfer.features import FrozenInput
from densecl.transfer.fitted import Fitted
from densecl.transfer.images import LabelledImages
from densecl.transfer.initialisation import Init
from densecl.transfer.map_stream import Mapped, stream_maps
from densecl.transfer.prediction_sheet import prediction_sheet, shown
from densecl.transfer.retrieval.bank import Bank, Pick, bank_rows, build_bank, share, unit_rows
from densecl.transfer.retrieval.bank_file import open_bank, write_bank
from densecl.transfer.retrieval.search import top_k
from densecl.transfer.scores import scores_of

IN_MEMORY = 1 << 30
"""Bytes of features above which a bank goes to a temporary file."""
QUERIES = 8192
"""Cells that are looked up together: a bank in a file is read once for all of them."""


@dataclass(frozen=True)
class Retrieved:
    """A frozen backbone and the memory made with it."""

    backbone: nn.Module
    bank: Bank

    def state_dict(self) -> dict[str, Tensor]:
        """The memory alone: the backbone is where it came from."""
        return self.bank.state_dict()


@dataclass(frozen=True)
class RetrievalSpec(Fitted):
    """Everything that decides a retrieval but weights, labels and machine.

    Attributes:
        input: the backbone and how it is read.
        num_classes: L.
        k: neighbours that vote.
        temperature: > 0, of the softmax over their cosines.
        memory: most rows of the bank; it is shared out evenly among the training pictures.
        pick: which cells of a picture enter, see ``pick_cells``.
        dtype: of the bank's rows.
        ignore: label id without a class.
    """

    input: FrozenInput
    num_classes: int
    k: int = 30
    temperature: float = 0.02
    memory: int = 100_000
    pick: Pick = "rare"
    dtype: Literal["float16", "float32"] = "float16"
    ignore: int = IGNORE
    columns: ClassVar[tuple[Column, ...]] = (
        MIOU,
        Column("miou_hungarian", "mIoU, Hungarian", "none"),
    )

    @property
    def backbone(self) -> Mapping[str, Any]:
        """Config of the backbone."""
        return self.input.backbone

    def select(self, dataset: Any, indices: Sequence[int] | None = None) -> LabelledImages:
        """The pictures of a data set at the indices given."""
        return LabelledImages(dataset, indices, resize=self.input.resize)

    def open(self, init: Init, seed: int, device: str | torch.device) -> nn.Module:
        """The starting weights in evaluation mode."""
        return self.input.open(init, seed, device)

    def fit(
        self, backbone: nn.Module, train: LabelledImages, seed: int, device: str | torch.device
    ) -> Retrieved:
        """Fill the memory; a large one lies in a file that vanishes with it.

        ``seed`` is of the cells that enter it.

        Raises:
            UsageError: no labelled cell in ``train``, or features that are not finite.
        """
        pictures = self._rows(backbone, train, seed)
        width = self.input.maps(backbone, train[0][0][None]).shape[1]
        if self.memory * width * getattr(torch, self.dtype).itemsize <= IN_MEMORY:
            return Retrieved(backbone, build_bank(pictures))
        with TemporaryDirectory() as folder:
            return Retrieved(backbone, open_bank(write_bank(Path(folder) / "bank", pictures)))

    def _rows(
        self, backbone: nn.Module, train: LabelledImages, seed: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        for position, features, label in stream_maps(self.input, backbone, train):
            yield bank_rows(
                features,
                label,
                self.num_classes,
                most=share(position, len(train), self.memory),
                pick=self.pick,
                seed=seed,
                picture=position,
                ignore=self.ignore,
                dtype=getattr(torch, self.dtype),
            )

    def restore(
        self, state: Mapping[str, Tensor], init: Init, *, seed: int, device: str | torch.device
    ) -> Retrieved:
        """The memory beside the backbone that it was made with."""
        return Retrieved(self.open(init, seed, device), Bank.from_state(state))

    def score(
        self, trained: Retrieved, items: LabelledImages, device: str | torch.device
    ) -> dict[str, Any]:
        """Scores on pictures, at their labels' own size.

        The first column compares predicted with true classes as they are. The second first permutes
        the predicted classes as suits the truth best, as some published numbers do.
        """
        total = np.zeros((self.num_classes, self.num_classes), np.int64)
        singles: dict[str, dict[str, float]] = {}
        for position, predicted in self.predict(trained, items):
            truth = items[position][1]
            counts = confusion_matrix(predicted, truth, self.num_classes, self.ignore)
            total += counts
            if counts.any():
                singles[items.name(position)] = {"miou": mean_iou(counts)}
        matched = join_clusters(total, hungarian(total))
        return {**scores_of(total), "miou_hungarian": mean_iou(matched), "items": singles}

    def predict(
        self, trained: Retrieved, items: LabelledImages
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Position and predicted class ids (H, W) of each picture, in order."""
        waiting: list[Mapped] = []
        cells = 0
        for mapped in stream_maps(self.input, trained.backbone, items):
            waiting.append(mapped)
            cells += mapped.features[0].numel()
            if cells >= QUERIES:
                yield from self._label(trained.bank, waiting)
                waiting, cells = [], 0
        if waiting:
            yield from self._label(trained.bank, waiting)

    def _label(self, bank: Bank, maps: Sequence[Mapped]) -> Iterator[tuple[int, np.ndarray]]:
        queries = unit_rows(torch.cat([each.features.flatten(1).T for each in maps]))
        shares = vote(bank, queries, self.k, self.temperature)
        start = 0
        for position, features, label in maps:
            h, w = features.shape[-2:]
            own = shares[start : start + h * w].T.reshape(1, -1, h, w)
            start += h * w
            full = functional.interpolate(own, label.shape, mode="bilinear", align_corners=False)
            yield position, full[0].argmax(dim=0).cpu().numpy()

    def pictures(
        self, trained: Mapping[str, Retrieved], items: LabelledImages, device: str | torch.device
    ) -> dict[str, np.ndarray]:
        """A few pictures with the truth and what each row retrieves."""
        some = shown(items)
        predicted = {
            name: [ids for _, ids in self.predict(each, some)] for name, each in trained.items()
        }
        sheet = prediction_sheet(some, predicted, self.num_classes, self.ignore)
        return {"predictions": sheet}


def vote(bank: Bank, queries: Tensor, k: int, temperature: float) -> Tensor:
    """Class shares (Q, L) of unit rows (Q, D): those of the k nearest rows of the bank.

    Each neighbour counts with the softmax of cosine / ``temperature``; a bank of fewer rows votes
    as a whole.
    """
    found = top_k(queries, bank.features, k)
    weight = torch.softmax(found.score / temperature, dim=1)
    parts = zip(weight.split(1024), found.index.split(1024), strict=True)
    return torch.cat(
        [
            torch.einsum("qk,qkl->ql", part, bank.labels.take(index).to(part))
            for part, index in parts
        ]
    )
