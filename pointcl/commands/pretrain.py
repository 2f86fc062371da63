"""`pointcl pretrain`: unlabelled scans in, a checkpoint out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from densecl.commands import pretrain
from densecl.errors import UsageError

if TYPE_CHECKING:
    from densecl.engine.domain import Domain


TARGETS = {
    "MinkUNet": "minkowski",
    "Res16UNet": "minkowski",
    "MinkResNet": "minkowski",
    "SpUNet": "pointcept",
    "VoxelResNet": "openpcdet",
}
"""Type of a backbone -> the library that knows it by these names."""


def data_config(path: Path, skip_unreadable: bool) -> dict[str, Any]:
    """The data set that a path on the command line means.

    Raises:
        UsageError: no folder is there.
    """
    if not path.is_dir():
        raise UsageError(f"--data {path}: no such folder", needed="a folder of scans")
    on_error = "skip" if skip_unreadable else "raise"
    return {"type": "ScanFolder", "root": str(path), "on_error": on_error}


def _points() -> Domain:
    from pointcl.engine.domain import POINTS

    return POINTS


SCANS = pretrain.Material(
    program="pointcl",
    samples="scans",
    default_config="pointcontrast_unet14w16_1xb4-600s_streets-30cm",
    data_help="a folder, searched recursively; a scan needs coordinates only",
    data_config=data_config,
    domain=_points,
    next_steps=(
        "hand over:  pointcl export {checkpoint} --to {target}",
        "its worth:  pointcl transfer --checkpoint {checkpoint}",
    ),
    target=lambda backbone: TARGETS.get(str((backbone or {}).get("type")), "safetensors"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Config, data, budget, resume."""
    pretrain.add_arguments(parser, SCANS)


def run(args: argparse.Namespace) -> int:
    """Pretrain; 0 also where a limit stopped the run, since nothing is lost."""
    return pretrain.run(args, SCANS)
