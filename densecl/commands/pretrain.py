"""`densecl pretrain`: unlabelled pictures in, a checkpoint out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from densecl.errors import UsageError

DEFAULT_CONFIG = "densecl_r18_1xb32-1000s_streets-96px"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Config, data, budget, resume."""
    parser.add_argument(
        "config",
        nargs="?",
        default=DEFAULT_CONFIG,
        help="a config file, or a name of `densecl configs list` (default: %(default)s)",
    )
    add_data_arguments(parser)
    parser.add_argument("--work-dir", type=Path, help="default: work_dirs/<config name>")
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        metavar="CHECKPOINT",
        help="go on from the newest checkpoint of the work dir, or from the one named",
    )
    parser.add_argument("--max-steps", type=int, help="optimiser steps")
    parser.add_argument(
        "--max-minutes", type=float, help="stop, with a checkpoint, after this long"
    )
    parser.add_argument("--seed", type=int)


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """What `pretrain` and `validate` share."""
    parser.add_argument(
        "--data",
        type=Path,
        help="your own pictures: a folder (searched recursively) or a text file of names",
    )
    parser.add_argument(
        "--skip-unreadable", action="store_true", help="skip unreadable pictures, and count them"
    )
    parser.add_argument("--batch-size", type=int, help="pictures per micro-batch and process")
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="override any field of the config, e.g. optim.lr=0.1",
    )


def data_config(path: Path, skip_unreadable: bool) -> dict[str, Any]:
    """The data set that a path on the command line means.

    Raises:
        UsageError: nothing is there.
    """
    on_error = "skip" if skip_unreadable else "raise"
    if path.is_dir():
        return {"type": "ImageFolder", "root": str(path), "on_error": on_error}
    if path.is_file():
        return {"type": "ImageList", "path": str(path), "on_error": on_error}
    raise UsageError(
        f"--data {path}: no such folder or file",
        needed="a folder of pictures, or a text file with one name a line",
    )


def overrides(args: argparse.Namespace) -> tuple[list[str], dict[str, Any]]:
    """What the options change in the config: `key=value` strings, and whole sections."""
    fields = {
        "loader.batch_size": args.batch_size,
        "schedule.max_steps": getattr(args, "max_steps", None),
        "train.max_minutes": getattr(args, "max_minutes", None),
        "seed": getattr(args, "seed", None),
    }
    changed = {key: value for key, value in fields.items() if value is not None}
    if args.data is not None:
        changed["data"] = data_config(args.data, args.skip_unreadable)
    elif args.skip_unreadable:
        changed["data.on_error"] = "skip"
    return args.cfg_options, changed
