"""Packages that one file format needs and the rest of the library does not."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from densecl.errors import UsageError


def need(module: str, what: str) -> ModuleType:
    """The imported module.

    Args:
        module: name to import.
        what: the files that need it, for the message.

    Raises:
        UsageError: it cannot be imported.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise UsageError(
            f"{what} are read with {module}, which cannot be imported ({error})",
            fix="pip install 'densecl[3d]'",
        ) from error
