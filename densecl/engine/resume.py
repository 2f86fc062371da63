"""Whether a checkpoint may be continued under a config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from densecl.distributed import world_size
from densecl.engine.config import parse_config_text, plain_config
from densecl.engine.domain import IMAGES, Domain
from densecl.errors import UsageError

MATTERS = (
    "method",
    "views",
    "data",
    "input",
    "loader.batch_size",
    "optim",
    "schedule",
    "train.accumulate",
    "train.amp",
    "train.grad_clip",
    "train.sync_bn",
    "seed",
)
"""Fields that change the weights of a run. Workers, threads, logs and intervals do not."""
LOCATIONS = ("root", "cache", "path", "images", "labels", "names", "annotation")
"""Fields of ``data`` that may move; the fingerprint tells whether the data is the same."""


def check_same_run(
    checkpoint: Mapping[str, Any],
    config: Mapping[str, Any],
    data: str,
    domain: Domain = IMAGES,
) -> None:
    """Refuse to continue a run under a config that would change it.

    Args:
        checkpoint: as loaded.
        config: the effective config now.
        data: fingerprint of the data set now.
        domain: what the run trains on.

    Raises:
        UsageError: naming each field that differs, with both values; or the run was one of
            another number of processes.
    """
    _check_processes(checkpoint["meta"].get("world_size", 1))
    before, now = parse_config_text(checkpoint["config"]), plain_config(config)
    differences = [
        f"{path}: {old!r} in the checkpoint, {new!r} now"
        for field in (*MATTERS, *domain.matters)
        for path, old, new in _differences(
            field, _get(before, field, domain), _get(now, field, domain)
        )
    ]
    old_data = checkpoint["meta"]["data_hash"]
    if not differences and old_data != data:
        differences = [f"data (fingerprint): {old_data!r} in the checkpoint, {data!r} now"]
    if differences:
        raise UsageError(
            "cannot resume, the config has changed:\n    " + "\n    ".join(differences),
            fix="set these fields back, or start a new run in another --work-dir",
        )


def _check_processes(before: int) -> None:
    """Batches, queue order and generators are those of a number of processes."""
    now = world_size()
    if before == now:
        return
    again = f"torchrun --nproc-per-node {before}" if before > 1 else "one process, no torchrun"
    raise UsageError(
        f"cannot resume on {_processes(now)}: the checkpoint is of a run on {_processes(before)}",
        needed="the same number, since the batches and random choices of a step depend on it",
        fix=f"launch it with {again}, or start a new run in another --work-dir",
    )


def _processes(count: int) -> str:
    return "1 process" if count == 1 else f"{count} processes"


def _get(config: Any, path: str, domain: Domain) -> Any:
    section, _, field = path.partition(".")
    value = config.get(section)
    if not field:
        return value
    # A checkpoint may be older than the field.
    return value.get(field, domain.sections[section][field].default)


def _differences(path: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in {**old, **new}:
            if path.partition(".")[0] != "data" or key not in LOCATIONS:
                yield from _differences(f"{path}.{key}", old.get(key), new.get(key))
    elif _listed(old) != _listed(new):
        yield path, old, new


def _listed(value: Any) -> Any:
    return [_listed(v) for v in value] if isinstance(value, (list, tuple)) else value
