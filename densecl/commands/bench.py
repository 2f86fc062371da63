"""What `transfer` and `evaluate` measure on: pictures here, scans in the other package."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from densecl.transfer.kind import Kind


@dataclass(frozen=True)
class Bench:
    """A kind of data, and how the commands speak of it.

    Attributes:
        program: the commands' program.
        protocol: what `transfer` runs where none is named.
        suite: what `evaluate` runs where none is named.
        controls: the kind's, for `--help`.
        kind: of data; asked for late, so that `--help` imports no torch.
    """

    program: str
    protocol: str
    suite: str
    controls: tuple[str, ...]
    kind: Callable[[], Kind]


def _pictures() -> Kind:
    from densecl.transfer.of_images import PICTURES

    return PICTURES


CONTROLS = ("scratch-long", "batchnorm", "permuted")
PICTURES = Bench("densecl", "upernet_streets-5pct", "quick", CONTROLS, _pictures)
