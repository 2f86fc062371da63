"""The columns of a point file by their meaning, whatever the file calls them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from densecl.errors import UsageError

Fields = dict[str, np.ndarray]
"""Name in the file -> (N,) values; every file format is brought to this."""

POSITION = ("x", "y", "z")
COLOUR = ("red", "green", "blue")
NORMAL = ("normal_x", "normal_y", "normal_z")
ROLES = (*POSITION, "intensity", *COLOUR, *NORMAL, "ring", "time", "label", "instance")

_LETTERS = {"x": "x", "y": "y", "z": "z", "i": "intensity", "r": "red", "g": "green", "b": "blue"}
_LETTERS |= {"l": "label", "t": "time"}

# a time is no alias: files give it in seconds, in nanoseconds, since 1970 or since the first point
_ALIASES = {
    "intensity": ("reflectance", "reflectivity", "remission", "strength"),
    "red": ("r",),
    "green": ("g",),
    "blue": ("b",),
    "normal_x": ("nx",),
    "normal_y": ("ny",),
    "normal_z": ("nz",),
    "label": ("labels", "segment", "semantic", "classification", "class"),
    "instance": ("instances", "instance_id"),
}
_MEANING = {alias: role for role, aliases in _ALIASES.items() for alias in aliases}
_MEANING |= {role: role for role in ROLES if role != "time"}

Columns = str | Sequence[str] | Mapping[str, str] | None
"""What a user says about columns; see ``read_cloud``."""


def meaning(name: str) -> str | None:
    """Role of a field by its usual names, or None. CloudCompare's ``scalar_`` is left out."""
    return _MEANING.get(name.lower().removeprefix("scalar_").removeprefix("diffuse_"))


def column_names(columns: Columns) -> tuple[str, ...] | None:
    """The roles of unnamed columns in order, "" for one that is left out; None = not said.

    Raises:
        UsageError: an unknown letter, x, y or z missing, or a role twice.
    """
    if columns is None or isinstance(columns, Mapping):
        return None
    if isinstance(columns, str):
        if not set(columns) <= {*_LETTERS, "_"}:
            raise UsageError(
                f"data.columns={columns!r}",
                needed="letters of " + ", ".join(f"{a} = {b}" for a, b in _LETTERS.items()),
                fix='write "_" for a column to leave out, or a list of names',
            )
        roles = tuple(_LETTERS.get(letter, "") for letter in columns)
    else:
        roles = tuple(name if name in ROLES else meaning(name) or "" for name in columns)
    named = [role for role in roles if role]
    if len(set(named)) != len(named) or not set(POSITION) <= set(named):
        raise UsageError(
            f"data.columns={columns!r}",
            needed="x, y and z, and no name twice",
            fix='for example "xyzi", or ["x", "y", "z", "intensity", "ring"]',
        )
    return roles


def assign(fields: Fields, columns: Columns, path: Path) -> tuple[Fields, tuple[str, ...]]:
    """The fields by role, and the names of those that mean nothing here.

    Args:
        fields: by their names in the file.
        columns: a mapping gives names of this file their roles, before the usual names.
        path: for messages.

    Raises:
        UsageError: the mapping names a field that is not there or an unknown role, or two fields
            have one role.
    """
    given = dict(columns) if isinstance(columns, Mapping) else {}
    strange = [role for role in given.values() if role not in ROLES]
    absent = [name for name in given if name not in fields]
    if strange or absent:
        raise UsageError(
            f"data.columns: {path} has no field {absent[0]!r}; it has {', '.join(fields)}"
            if absent
            else f"data.columns: {strange[0]!r} is no meaning of a column",
            needed="" if absent else "one of " + ", ".join(ROLES),
        )
    found: Fields = {}
    owner: dict[str, str] = {}
    unused = []
    for name, values in fields.items():
        role = given.get(name) or meaning(name)
        if role is None or (role in given.values() and name not in given):
            unused.append(name)
        elif role in owner:
            raise UsageError(
                f"{path}: {owner[role]!r} and {name!r} both mean {role}",
                fix=f"choose one: columns={{{name!r}: {role!r}}}",
            )
        else:
            found[role], owner[role] = values, name
    return found, tuple(unused)
