"""What every segmentation is to the store: settings, a version, and a pure function."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import fields
from importlib.metadata import PackageNotFoundError, version
from typing import Any, ClassVar, Generic, TypeVar

from densecl.errors import UsageError
from densecl.regions.segments import Segments

Item = TypeVar("Item")


class Segmentation(ABC, Generic[Item]):
    """One way to cut an input into regions; a frozen dataclass whose fields are its settings.

    It must give the same regions for the same input, in any process, and be picklable.

    Attributes:
        kind: "image" or "cloud".
        version: raised by whoever changes the code so that the same settings give other regions;
            stores of the old version are then refused.
        packages: names of the distributions whose release decides the result too.
    """

    kind: ClassVar[str]
    version: ClassVar[int] = 1
    packages: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def __call__(self, item: Item) -> Segments:
        """The regions of one input.

        Raises:
            UsageError: it cannot be cut so.
        """

    @abstractmethod
    def identify(self, item: Item) -> str:
        """Hash of all that is read of an input (``regions.digest`` of its arrays)."""

    def describe(self) -> dict[str, Any]:
        """What a store is keyed by: type, every setting, version, releases of packages."""
        settings = {one.name: getattr(self, one.name) for one in fields(self)}  # type: ignore[arg-type]
        releases = {name: release(name) for name in self.packages}
        return {"type": type(self).__name__, **settings, "version": self.version, **releases}

    def _need(self, name: str, low: float, *, above: bool = False) -> None:
        """Check that a setting is a number in range, and bring it to its annotated type.

        Args:
            name: the setting; annotated as ``int`` or ``float``.
            low: least value.
            above: whether it must be larger than ``low``.

        Raises:
            UsageError: it is not.
        """
        value = getattr(self, name)
        whole = self.__dataclass_fields__[name].type == "int"  # type: ignore[attr-defined]
        kinds = (int,) if whole else (int, float)
        fits = isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value)
        if not fits or value < low or (above and value == low):
            raise UsageError(
                f"{type(self).__name__}: {name} = {value!r}",
                needed=f"{'a whole number' if whole else 'a number'}, "
                + (f"more than {low:g}" if above else f"{low:g} or more"),
            )
        object.__setattr__(self, name, int(value) if whole else float(value))


def release(package: str) -> str:
    """Version of an installed distribution, "absent" where there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
