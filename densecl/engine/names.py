"""Field names: what a class accepts, and the nearest name to a misspelt one."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from mmengine.registry import Registry

from densecl.errors import UsageError


def unknown_name(path: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that nothing answers to.

    Args:
        path: where it stands, e.g. ``optim.lrr`` or ``method.type = 'DensCL'``.
        name: the misspelt name itself.
        known: what would have been accepted.
    """
    options = sorted(known)
    lowered = {option.lower(): option for option in options}
    close = get_close_matches(name.lower(), lowered, n=1, cutoff=0.5)
    fix = f"did you mean {lowered[close[0]]!r}?" if close else ""
    return UsageError(f"unknown: {path}", needed="one of " + ", ".join(options), fix=fix)


def accepted_arguments(cls: type) -> set[str] | None:
    """Names of the arguments that a class takes; None if it takes any.

    A constructor with ``**kwargs`` is read together with that of its base classes.
    """
    names: set[str] = set()
    for base in inspect.getmro(cls):
        if "__init__" not in vars(base):
            continue
        parameters = list(inspect.signature(base.__init__).parameters.values())[1:]  # type: ignore[misc]
        open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)
        names |= {p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
        if not open_ended:
            return names
    return None


def registered(registry: Registry, name: object, path: str) -> type:
    """The class registered under ``name``.

    Raises:
        UsageError: not a string, or nothing is registered under it; names the nearest.
    """
    if not isinstance(name, str):
        raise UsageError(f"{path} = {name!r}", needed="the name of a registered class")
    registry.import_from_location()
    cls = registry.module_dict.get(name)
    if cls is None:
        raise unknown_name(f"{path} = {name!r}", name, registry.module_dict)
    return cls


def check_arguments(path: str, section: Mapping[str, Any], cls: type) -> None:
    """Refuse a field that the class of a section does not take.

    Raises:
        UsageError: naming the nearest argument.
    """
    accepted = accepted_arguments(cls)
    if accepted is None:
        return
    for key in section:
        if key != "type" and key not in accepted:
            raise unknown_name(f"{path}.{key}", key, accepted)


def arguments_of(section: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a section without its ``type``."""
    return {name: value for name, value in section.items() if name != "type"}
