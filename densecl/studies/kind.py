"""What a study has to be told about the kind of data, beside what transfer is told."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from torch import Tensor, nn

from densecl.engine.domain import Domain
from densecl.transfer.kind import Kind
from densecl.transfer.task import Task
from densecl.weights.export import ExportReport

if TYPE_CHECKING:
    from densecl.transfer.protocol_file import ProtocolFile
    from densecl.transfer.study import RowSpec, Study

FINETUNE, PROBE = "finetune", "probe"


class Cached(Protocol):
    """Counts something once for all that has the same cause."""

    def __call__(self, decides: Any, count: Callable[[], float], /) -> float:
        """The number that ``count`` gives; ``decides`` is all that it depends on."""
        ...


class StudyKind(ABC):
    """A kind of data. Grid, order, hashes, resuming and report are the same for all kinds.

    Attributes:
        transfer: the same kind, as transfer knows it.
        items: what a data set holds, in the plural.
        templates: ``unlabelled`` and ``labelled`` -> what a list file is opened with, where the
            study does not say.
        controls: type of a protocol -> the control rows that it can have, and has by default.
        reserved: names of those rows that only this kind has.
        probe_fields: settings of a probe.
        weights: dotted fields of a pretraining config that name a weight file. Its content is part
            of a cell's hash, its path is not.
    """

    transfer: ClassVar[Kind]
    items: ClassVar[str]
    templates: ClassVar[Mapping[str, Mapping[str, Any]]]
    controls: ClassVar[Mapping[str, tuple[str, ...]]]
    reserved: ClassVar[tuple[str, ...]] = ()
    probe_fields: ClassVar[tuple[str, ...]]
    weights: ClassVar[tuple[str, ...]] = ()

    @property
    def domain(self) -> Domain:
        """Where its configs, methods and data sets are found."""
        return self.transfer.domain

    @abstractmethod
    def names(self, dataset: Any) -> Iterator[str]:
        """What tells the items of a data set apart from any other's: files, or names."""

    @abstractmethod
    def without_places(self, section: Mapping[str, Any]) -> dict[str, Any]:
        """A data set's config without what only says where its files lie."""

    @abstractmethod
    def input_of(self, config: Mapping[str, Any], row: str) -> dict[str, Any]:
        """Backbone and input of a pretraining, as fields of a run of transfer.

        Args:
            config: the effective config, in builtins.
            row: its name, for messages.

        Raises:
            UsageError: the config names no backbone.
        """

    def note(self, config: Mapping[str, Any]) -> str:
        """What a table has to say of a pretraining, "" = nothing."""
        return ""

    @abstractmethod
    def finetune(
        self, protocol: ProtocolFile, known: Mapping[str, Any], num_classes: int, device: str
    ) -> Task:
        """The fine-tuning run of a protocol on the input of ``input_of``."""

    @abstractmethod
    def probe(
        self,
        protocol: ProtocolFile,
        known: Mapping[str, Any],
        num_classes: int,
        settings: Mapping[str, Any],
    ) -> Task:
        """The frozen probe with some of ``probe_fields``."""

    @abstractmethod
    def reestimated(
        self, task: Task, train: Any, unlabelled: Callable[[], Any]
    ) -> tuple[list[Any], Callable[[int], dict[str, Tensor]]]:
        """Random weights of a seed whose batch norm has seen the unlabelled data.

        Args:
            task: says backbone and input.
            train: the labelled data, where its size counts.
            unlabelled: opens the unlabelled data.

        Returns:
            What decides them beside the unlabelled data, the seed and torch; and the weights.
        """

    @abstractmethod
    def pretraining_cost(self, config: Mapping[str, Any], steps: int) -> float:
        """Floating-point operations of so many steps of a pretraining."""

    @abstractmethod
    def keep(self, checkpoint: Path, out: Path) -> ExportReport:
        """Write the backbone of a checkpoint and all that is known of it, with proof."""

    @abstractmethod
    def load(self, path: Path) -> nn.Module:
        """The backbone that ``keep`` wrote."""

    @abstractmethod
    def pretraining_work(self, config: Mapping[str, Any], steps: int, cached: Cached) -> float:
        """What the seconds of a pretraining are proportional to."""

    @abstractmethod
    def transfer_work(self, study: Study, row: RowSpec, position: int, cached: Cached) -> float:
        """The same of a run of transfer.

        Args:
            study: the table.
            row: of it.
            position: of the (seed, subset) pair.
            cached: counts each thing once.
        """

    def pace(self, kind: str, row: str) -> str:
        """Cells of one pace do as much work a second.

        Args:
            kind: of the cell.
            row: its name.
        """
        return kind

    @abstractmethod
    def speed(self, known: Mapping[str, Any], train: Any, cached: Cached) -> float:
        """Work a second of a short forward pass, a guess before a cell is measured.

        Args:
            known: backbone and input.
            train: labelled data.
            cached: counts each thing once.
        """
