"""The finished backbones of a study under names that say what they are."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from densecl.studies.cells import PretrainCell
from densecl.studies.tables import slug

if TYPE_CHECKING:
    from densecl.studies.plan import Plan

FOLDER = "weights"


def name_weights(plan: Plan) -> list[Path]:
    """Link every finished backbone as ``<out>/weights/<fold>_<row>_<steps>_seed<n>.safetensors``.

    A link is relative, so that the study's folder may move; where links cannot be made it is a
    copy. A name that stands for other weights by now is replaced.

    Returns:
        The files, in the order of the cells.
    """
    found = []
    for cell in plan.cells:
        if not isinstance(cell, PretrainCell) or cell.seconds() is None:
            continue
        run = cell.cell
        if not run.weights.is_file():
            continue
        name = slug(run.fold.name, run.row.name, str(cell.steps), f"seed{run.seed}")
        path = plan.out / FOLDER / f"{name}{run.weights.suffix}"
        _point(path, run.weights)
        found.append(path)
    return found


def _point(path: Path, target: Path) -> None:
    """Let a path stand for a file, whatever it stood for before."""
    wanted = os.path.relpath(target, path.parent)
    if path.is_symlink() and os.readlink(path) == wanted:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # another process at the same study does the same: each has a file of its own until the move
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    try:
        temporary.symlink_to(wanted)
    except OSError:
        shutil.copyfile(target, temporary)
    temporary.replace(path)
