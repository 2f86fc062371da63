"""Files that appear whole or not at all, and the room they need."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from densecl.errors import UsageError

TEMPORARY = ".tmp-"
"""Prefix of files still being written; nothing reads them."""


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, flush it to disk, then rename it.

    A process killed at any moment leaves either the old file or the new one.
    """
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
    try:
        write(temporary)
        with open(temporary, "rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    flush_folder(path.parent)


def flush_folder(folder: Path) -> None:
    """Make renames in a folder durable, where the system allows it."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_leftovers(folder: Path) -> None:
    """Delete temporary files that a killed process left behind."""
    for path in folder.glob(f"{TEMPORARY}*"):
        path.unlink(missing_ok=True)


def require_space(folder: Path, needed: int, what: str) -> None:
    """Refuse to go on without ``needed`` free bytes.

    Raises:
        UsageError: with both sizes and the folder.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UsageError(
            f"{free / 2**20:.0f} MiB free in {folder}",
            needed=f"{needed / 2**20:.0f} MiB for {what}",
            fix="free some space, lower checkpoint.keep, or choose another --work-dir",
        )
