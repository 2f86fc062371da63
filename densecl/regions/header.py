"""The settings that a segment store is keyed by: normal form, hash, comparison."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from densecl.errors import UsageError


def plain(method: Mapping[str, Any]) -> dict[str, Any]:
    """A description as JSON gives it back: tuples as lists, keys sorted.

    Raises:
        ValueError: it holds what JSON cannot, or a NaN.
    """
    try:
        return json.loads(json.dumps(dict(method), sort_keys=True, allow_nan=False))
    except TypeError as error:
        raise ValueError(f"a method is described by builtins: {error}") from error


def key_of(kind: str, method: Mapping[str, Any]) -> str:
    """Hash of kind and description."""
    text = json.dumps([kind, method], sort_keys=True)
    return blake2b(text.encode(), digest_size=16).hexdigest()


def differences(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Settings that are asked for and stored otherwise: ``segments = 100, asked for 150``."""
    return [
        f"{name} = {stored.get(name)!r}, asked for {value!r}"
        for name, value in wanted.items()
        if name not in stored or stored[name] != value
    ]


def check_method(
    folder: Path, kind: str, stored: Mapping[str, Any], wanted_kind: str, wanted: Mapping[str, Any]
) -> None:
    """Refuse to write into the store of another method.

    Raises:
        UsageError: something differs; it says what.
    """
    found = differences({"kind": kind, **stored}, {"kind": wanted_kind, **wanted})
    found += [f"{name} = {stored[name]!r}, now unknown" for name in stored if name not in wanted]
    if found:
        raise UsageError(
            f"{folder} is the store of another segmentation: {', '.join(found)}",
            fix="give the same settings, or another folder (--out)",
        )
