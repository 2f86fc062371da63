"""The ``views.segments`` of methods that look at segments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from densecl.engine.names import registered
from densecl.errors import UsageError
from pointcl.registry import METHODS


def split_segments(
    config: Mapping[str, Any], clouds: dict[str, Any]
) -> str | Mapping[str, Any] | None:
    """How scans without segments get them; None = they bring them along, or need none.

    Args:
        config: complete.
        clouds: settings of the views; ``segments`` is taken out.

    Raises:
        UsageError: segments for a method that does not look at them.
    """
    segments: str | Mapping[str, Any] | None = clouds.pop("segments", None)
    name = config["method"].get("type")
    if segments is None or getattr(
        registered(METHODS, name, "method.type"), "takes_segments", False
    ):
        return segments
    raise UsageError(
        f"views.segments is given, but method {name} looks at no segments",
        fix="remove it, or choose FAC",
    )
