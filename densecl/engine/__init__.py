"""Training: configs, the loop, checkpoints, exact resume, telemetry.

The names below are imported when first asked for, so that reading a config does not load a
trainer.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "find_config": "config",
    "list_configs": "config",
    "load_config": "config",
    "load_checkpoint": "checkpoint",
    "pretrain": "runner",
    "build_runner": "runner",
    "RunResult": "runner",
    "validate": "preflight",
    "Report": "preflight",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
