"""What transfer has to be told about the kind of data: pictures, scans."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from densecl.engine.domain import Domain
from densecl.transfer.study import RowSpec
from densecl.transfer.task import Task

if TYPE_CHECKING:
    import numpy as np

    from densecl.transfer.protocol_file import ProtocolFile
    from densecl.transfer.study import Study
    from densecl.transfer.table import Table
    from densecl.transfer.weight_file import Told, WeightFile

Checkpoints = Mapping[str, Mapping[int, Path]]
"""Row name -> pretraining seed -> weight file."""

CONTROLS = ("scratch-long", "batchnorm", "permuted")
"""Control rows that every kind of data has."""


@dataclass(frozen=True)
class Run:
    """A run that a protocol file names by a section of its own.

    Attributes:
        home: ``module:class`` whose fields are the section's, imported when it is asked for: the
            ``Task`` itself as a rule.
        given: fields that come from the weights, the data or the grid.
        more: further fields of the section.
        rate: what its grid is of: ``lr``, ``decay``, or "": it has none.
        learns: from labels, so that protocols have a ``train`` part and shares of it.
    """

    home: str
    given: frozenset[str] = frozenset()
    more: frozenset[str] = frozenset()
    rate: str = ""
    learns: bool = True

    def settings(self) -> type:
        """The class whose fields are the section's."""
        module, _, name = self.home.partition(":")
        return getattr(import_module(module), name)

    def fields(self) -> frozenset[str]:
        """What the section may hold."""
        return (frozenset(item.name for item in fields(self.settings())) | self.more) - self.given


GRIDS = {"lr": ("learning_rates", (0.01, 0.03)), "decay": ("decays", (1e-4,))}
"""What a grid is of -> its field in a protocol file, and the default."""


class Kind(ABC):
    """A kind of data. Everything else of a table is the same for all kinds.

    Attributes:
        domain: where its protocol files and data sets are found.
        runs: section of a protocol file -> the run it describes. A file gives one of them; the
            first is meant where it gives none.
        fields: further fields of its protocol files, with their defaults.
        controls: names of the control rows that it can make.
    """

    domain: ClassVar[Domain]
    runs: ClassVar[Mapping[str, Run]]
    fields: ClassVar[Mapping[str, Any]] = {}
    controls: ClassVar[tuple[str, ...]] = CONTROLS

    @abstractmethod
    def resolve(self, section: Mapping[str, Any], root: Path | None, where: str) -> dict[str, Any]:
        """A data set's config with its paths below ``root``.

        Args:
            section: ``dict(type=..., ...)``.
            root: what relative paths start from; None leaves them.
            where: the section's place, for messages.

        Raises:
            UsageError: no data set of that type.
        """

    def check(self, name: str, fields: Mapping[str, Any]) -> None:  # noqa: B027
        """Refuse values of ``fields`` that mean nothing; ``name`` is the protocol's."""

    def task(
        self, protocol: ProtocolFile, checkpoints: Checkpoints, num_classes: int, device: str
    ) -> Task:
        """The run that fits the checkpoints' backbone and input.

        Raises:
            UsageError: the checkpoints' backbones or inputs differ.
        """
        return self.task_for(protocol, self.common(protocol, checkpoints), num_classes, device)

    @abstractmethod
    def common(self, protocol: ProtocolFile, checkpoints: Checkpoints) -> dict[str, Any]:
        """Backbone and input of all checkpoints, as ``task_for`` takes them.

        Raises:
            UsageError: two of them differ, or one and the protocol.
        """

    @abstractmethod
    def task_for(
        self, protocol: ProtocolFile, known: Mapping[str, Any], num_classes: int, device: str
    ) -> Task:
        """The run of a protocol on a backbone.

        Args:
            protocol: the settings.
            known: backbone and input, from ``common`` or ``known_for``.
            num_classes: of the data; 0 where they have none.
            device: ``auto``, ``cpu`` or ``cuda``.
        """

    @abstractmethod
    def own_run(self, home: str, *, learns: bool) -> Run:
        """A run of a task that is not ours, without a grid; see ``Run``."""

    @abstractmethod
    def inspect(self, path: Path, told: Told) -> WeightFile:
        """Open a weight file and say what is in it.

        Args:
            path: the file.
            told: what the file does not say itself.

        Raises:
            UsageError: unreadable, no such branch, or not every tensor of the backbone filled.
        """

    @abstractmethod
    def known_for(self, file: WeightFile, told: Told, protocol: ProtocolFile) -> dict[str, Any]:
        """Backbone and input of a file, as ``task_for`` takes them.

        Raises:
            UsageError: nobody tells the input, or file and protocol contradict each other.
        """

    @abstractmethod
    def load(self, path: Path) -> nn.Module:
        """The backbone of a weight file."""

    @abstractmethod
    def random(self, known: Mapping[str, Any], seed: int) -> nn.Module:
        """A backbone with random weights; ``known`` is from ``known_for``."""

    @abstractmethod
    def random_reestimated(
        self, task: Task, unlabelled: Callable[[], Any]
    ) -> Callable[[int], dict[str, Tensor]]:
        """Random weights of a seed, their batch-norm statistics re-estimated from unlabelled data.

        Args:
            task: says the backbone and its input.
            unlabelled: opens the data set.
        """

    @abstractmethod
    def pretraining_cost(self, checkpoint: Mapping[str, Any]) -> float | None:
        """Floating-point operations of the run that wrote a checkpoint; None = not known.

        Args:
            checkpoint: contents of the file.
        """

    @abstractmethod
    def step_cost(self, task: Task, train: Any) -> float | None:
        """Operations of one step of a run on a labelled data set; None = not known."""

    def control(self, name: str, task: Task, train: Any) -> RowSpec:
        """A control row of its own, one of ``controls`` that not every kind has."""
        raise NotImplementedError(name)

    def finish(  # noqa: B027
        self, rows: Sequence[RowSpec], table: Table, folder: Path, val: Any, log: Callable
    ) -> None:
        """Write what belongs beside a table into its folder, pictures for instance."""

    def pictures(self, study: Study, table: Table, dataset: Any) -> dict[str, np.ndarray]:
        """What a finished table can show: stem of a file -> (H, W, 3) uint8.

        Args:
            study, table: the runs and what they found.
            dataset: that the scores are of.
        """
        from densecl.transfer.showcase import table_pictures

        return table_pictures(study, table, dataset)
