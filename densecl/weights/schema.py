"""What every checkpoint of ours says about itself.

A pretraining checkpoint (kind "pretrain") is a dict of tensors and builtins, so that it loads
with ``weights_only=True``:

- ``schema``: "densecl/1"; ``kind``: "pretrain"; ``step``: optimiser steps finished
- ``method``: state dict of the whole method; the backbones are inside and not stored twice
- ``meta``: see ``META_KEYS``; ``config``: the effective config as text
- anything that resuming needs (optimiser, random states, ...), not read here

An exported backbone (kind "backbone") has ``state_dict`` in the naming of ``meta["naming"]``
instead of ``method``.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from densecl.errors import UsageError

SCHEMA = "densecl/1"
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)

META_KEYS = {
    "method": "name of the method",
    "branch": "which branch is handed over: online or teacher",
    "backbone_prefix": "where that branch stands in the method's state dict, e.g. 'backbone.'",
    "backbone": "config of the backbone (None or empty for a module of the user's own)",
    "channel_order": "RGB or BGR; None, as the next two, where the input is no picture",
    "mean": "of the input, on the scale 0-255, in channel order",
    "std": "of the input, on the scale 0-255, in channel order",
    "code_version": "version of this package",
}
"""Keys that ``meta`` of a pretraining checkpoint must have; more are kept."""


def code_version() -> str:
    """Version of the installed package, or "unknown" when run from a bare source tree."""
    try:
        return version("densecl")
    except PackageNotFoundError:
        return "unknown"


def check_schema(checkpoint: Mapping[str, Any], path: str | Path) -> None:
    """Refuse a checkpoint of ours that this code cannot read.

    Raises:
        UsageError: another schema version, an unknown kind, or missing parts.
    """
    if checkpoint.get("schema") != SCHEMA:
        raise UsageError(
            f"{path} has checkpoint schema {checkpoint.get('schema')!r}",
            needed=repr(SCHEMA),
            fix="use the version of densecl that wrote it, named in its meta['code_version']",
        )
    kind = checkpoint.get("kind")
    part = {"pretrain": "method", "backbone": "state_dict"}.get(str(kind))
    if part is None:
        raise UsageError(f"{path} is of kind {kind!r}", needed="'pretrain' or 'backbone'")
    if not isinstance(checkpoint.get(part), Mapping):
        raise UsageError(f"{path} of kind {kind!r} has no {part!r}")
    meta = checkpoint.get("meta")
    wanted = META_KEYS if kind == "pretrain" else ("backbone", "naming")
    missing = [key for key in wanted if not isinstance(meta, Mapping) or key not in meta]
    if missing:
        raise UsageError(f"{path} lacks meta entries {missing}")
