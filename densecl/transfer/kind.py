"""What transfer has to be told about the kind of data: pictures, scans."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from densecl.engine.domain import Domain
from densecl.transfer.study import RowSpec
from densecl.transfer.task import Task

if TYPE_CHECKING:
    from densecl.transfer.protocol_file import ProtocolFile
    from densecl.transfer.table import Table

Checkpoints = Mapping[str, Mapping[int, Path]]
"""Row name -> pretraining seed -> weight file."""

CONTROLS = ("scratch-long", "batchnorm", "permuted")
"""Control rows that every kind of data has."""


class Kind(ABC):
    """A kind of data. Everything else of a table is the same for all kinds.

    Attributes:
        domain: where its protocol files and data sets are found.
        sections: section of a protocol file that describes a run -> the fields it may have. A file
            gives one of them; the first is meant where it gives none.
        fields: further fields of its protocol files, with their defaults.
        controls: names of the control rows that it can make.
    """

    domain: ClassVar[Domain]
    sections: ClassVar[Mapping[str, frozenset[str]]]
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

    @abstractmethod
    def task(
        self, protocol: ProtocolFile, checkpoints: Checkpoints, num_classes: int, device: str
    ) -> Task:
        """The run that fits the checkpoints' backbone and input.

        Raises:
            UsageError: the checkpoints' backbones or inputs differ.
        """

    @abstractmethod
    def load(self, path: Path) -> nn.Module:
        """The backbone of a weight file."""

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
    def step_cost(self, task: Task, train: Any) -> float:
        """Floating-point operations of one step of a run on a labelled data set."""

    def control(self, name: str, task: Task, train: Any) -> RowSpec:
        """A control row of its own, one of ``controls`` that not every kind has."""
        raise NotImplementedError(name)

    def finish(  # noqa: B027
        self, rows: Sequence[RowSpec], table: Table, folder: Path, val: Any, log: Callable
    ) -> None:
        """Write what belongs beside a table into its folder, pictures for instance."""
