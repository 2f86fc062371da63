"""Checkpoint files: written atomically, found again, checked before use.

A file holds tensors and builtins only and loads with ``torch.load(weights_only=True)``::

    schema    "densecl/1"
    kind      "pretrain"
    step      optimiser steps finished
    method    state dict of the method: weights, queues, teachers
    optimizer state dict
    schedule  {"step": ...}
    rng       torch, cuda, numpy, python; of several processes that of rank 0
    rng_ranks the same of every rank, in a run on several processes
    sampler   {"batches": micro-batches consumed, ...}
    meta      method, branch, backbone_prefix, backbone (its config), channel_order, mean, std,
              code_version, data_hash, torch_version, world_size (absent = 1);
              branch_prefixes where the method names them; of points voxels (size, kind, range,
              features, ...), and None for what describes pictures
    config    text of the effective config
"""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from densecl.engine.disk import require_space
from densecl.errors import UsageError
from densecl.files import remove_leftovers, write_atomically
from densecl.weights.schema import SCHEMA

KEYS = ("schema", "kind", "step", "method", "optimizer", "schedule", "rng", "sampler", "meta")
LAST = "last.pth"
_STEP_FILE = re.compile(r"step_(\d+)\.pth")


def step_file(folder: Path, step: int) -> Path:
    """Path of the checkpoint of one step."""
    return folder / f"step_{step:08d}.pth"


def list_checkpoints(folder: Path) -> list[Path]:
    """Finished checkpoints of a work dir, oldest step first."""
    found = [p for p in folder.glob("step_*.pth") if _STEP_FILE.fullmatch(p.name)]
    return sorted(found, key=_step_of)


def _step_of(path: Path) -> int:
    match = _STEP_FILE.fullmatch(path.name)
    return int(match.group(1)) if match else -1


def tensor_bytes(value: Any) -> int:
    """Bytes of all tensors in a nest of dicts, lists and tuples."""
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, Mapping):
        return sum(map(tensor_bytes, value.values()))
    if isinstance(value, (list, tuple)):
        return sum(map(tensor_bytes, value))
    return 0


def portable(value: Any) -> Any:
    """The nest with plain dicts and detached CPU tensors.

    Raises:
        TypeError: something that ``weights_only`` loading would refuse.
    """
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, Mapping):
        return {key: portable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(portable(item) for item in value)
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise TypeError(f"a checkpoint cannot hold a {type(value).__name__}")


def save_checkpoint(folder: Path, state: Mapping[str, Any], *, keep: int) -> Path:
    """Write the checkpoint of a step, point ``last.pth`` at it, drop the oldest beyond ``keep``.

    Args:
        folder: the work dir.
        state: see the top of this file.
        keep: how many to keep, the new one included.

    Returns:
        The new file.

    Raises:
        UsageError: not enough free space; older files are untouched.
    """
    content = portable(state)
    require_space(folder, int(1.05 * tensor_bytes(content)) + 2**20, "the next checkpoint")
    path = step_file(folder, content["step"])
    write_atomically(path, lambda temporary: torch.save(content, temporary))
    write_atomically(folder / LAST, lambda temporary: _link_or_copy(path, temporary))
    others = [p for p in list_checkpoints(folder) if p != path]
    # By age, not by step: after falling back to an older file, higher steps are the older ones.
    others.sort(key=lambda p: (p.stat().st_mtime_ns, _step_of(p)))
    for old in others[: max(0, len(others) + 1 - keep)]:
        old.unlink(missing_ok=True)
    return path


def _link_or_copy(source: Path, target: Path) -> None:
    """A second name for the same bytes; a copy where the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU, every checksum verified.

    Raises:
        UsageError: missing, damaged, or not a pretraining checkpoint of this schema.
    """
    if not path.is_file():
        raise UsageError(f"no checkpoint {path}")
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
        if bad is not None:
            raise UsageError(f"{path} is damaged: wrong checksum of {bad}")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UsageError:
        raise
    # Damage shows as whatever the reader met first: bad zip, EOF, unpickling, missing record.
    except Exception as error:
        raise UsageError(f"{path} is damaged or no checkpoint: {error}") from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        found = content.get("schema") if isinstance(content, dict) else type(content).__name__
        raise UsageError(f"{path} has schema {found!r}", needed=SCHEMA)
    missing = [key for key in KEYS if key not in content]
    if missing or content["kind"] != "pretrain":
        raise UsageError(f"{path} cannot be resumed", needed=f"a pretraining run's; {missing=}")
    return content


def newest_valid(folder: Path, warn: Any = print) -> tuple[Path, dict[str, Any]] | None:
    """The newest readable checkpoint of a work dir.

    A damaged one is set aside as ``*.damaged`` with a warning, and the one before is tried.

    Returns:
        Its path and content, or None if the work dir holds none.
    """
    if not folder.is_dir():
        return None
    remove_leftovers(folder)
    for path in reversed(list_checkpoints(folder)):
        try:
            return path, load_checkpoint(path)
        except UsageError as error:
            warn(f"warning: {error}\n  falling back to the checkpoint before it")
            path.rename(path.with_name(path.name + ".damaged"))
    return None
