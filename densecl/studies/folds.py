"""The data of a fold, and the proof that what is scored was not trained on."""

from __future__ import annotations

import itertools
from functools import cached_property
from typing import Any

from densecl.errors import UsageError
from densecl.studies.config import UNLABELLED, FoldConfig
from densecl.studies.kind import StudyKind
from densecl.studies.of_images import PICTURES, image_names

__all__ = ["Fold", "image_names"]


class Fold:
    """Data sets of a fold, each opened once.

    Args:
        config: names them.
        kind: of data.
    """

    def __init__(self, config: FoldConfig, kind: StudyKind = PICTURES) -> None:
        self.name, self.config, self.kind = config.name, config, kind
        self.transductive = config.transductive
        self._open: dict[str, Any] = {}

    def dataset(self, part: str) -> Any:
        """``unlabelled``, ``train``, ``val``, ``test``, or another reading of the unlabelled."""
        if part not in self._open:
            datasets = self.kind.domain.datasets
            datasets.import_from_location()
            section = dict(self.config.section(part))
            self._open[part] = datasets.get(section.pop("type"))(**section)
        return self._open[part]

    @property
    def parts(self) -> list[str]:
        """Which of them there are."""
        return list(self.config.data)

    @property
    def scored(self) -> str:
        """The part that a finished table's scores are of."""
        return "test" if "test" in self.config.data else "val"

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Their L names.

        Raises:
            UsageError: train, val and test disagree about the classes.
        """
        classes = {part: tuple(self.dataset(part).classes) for part in self.parts[1:]}
        for part, names in classes.items():
            if names != classes["train"]:
                raise UsageError(
                    f"fold {self.name!r}: {part} has other classes than train",
                    needed=f"{list(classes['train'])}",
                )
        return classes["train"]

    @property
    def num_classes(self) -> int:
        """L."""
        return len(self.classes)

    def check(self) -> None:
        """Refuse a fold whose scored items were seen before.

        No test item may be in train, val or unlabelled, and no val item in train. With
        ``transductive`` test and val items may be among the unlabelled ones.

        Raises:
            UsageError: names up to three of them.
        """
        _ = self.classes
        names = {part: self._names(part) for part in self.parts}
        for seen, scored in itertools.product(self.parts, self.parts):
            if (seen, scored) in _forbidden(self.transductive, self.scored):
                self._refuse(seen, scored, names.get(seen, set()) & names.get(scored, set()))

    def _refuse(self, seen: str, scored: str, common: set[str]) -> None:
        if not common:
            return
        shown = ", ".join(sorted(common)[:3])
        allowed = seen == UNLABELLED
        raise UsageError(
            f"fold {self.name!r}: {len(common)} {scored} {self.kind.items} are also in {seen}: "
            f"{shown}",
            needed=f"none of {scored} in {seen}",
            fix="take them out of one list"
            + ("; or set transductive=True, which every table then says" if allowed else ""),
        )

    def overlap(self) -> int:
        """How many scored items are among the unlabelled ones."""
        return len(self._names(self.scored) & self._names(UNLABELLED))

    def _names(self, part: str) -> set[str]:
        """Of a part; the unlabelled ones whatever they are read as."""
        parts = [part, *self.config.readings] if part == UNLABELLED else [part]
        return {name for each in parts for name in self.kind.names(self.dataset(each))}


def _forbidden(transductive: bool, scored: str) -> set[tuple[str, str]]:
    """(seen, scored) parts that may share no item.

    Validation items may be pretrained on where they only choose a learning rate: every row's
    choice is made on the same ones. Where they are what is reported, they are the test.
    """
    pairs = {("train", "test"), ("val", "test"), ("train", "val")}
    return pairs if transductive else pairs | {(UNLABELLED, scored)}
