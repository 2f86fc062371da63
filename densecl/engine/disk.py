"""The room that checkpoints need."""

from __future__ import annotations

import shutil
from pathlib import Path

from densecl.errors import UsageError


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
