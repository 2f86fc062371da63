"""Training: configs, the loop, checkpoints, exact resume, telemetry.

The names below are imported when first asked for, so that reading a config does not load a
trainer.
"""

from __future__ import annotations

from densecl.lazy import lazy_names

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
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
