"""`densecl pretrain`: unlabelled pictures in, a checkpoint out."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from densecl.errors import UsageError

if TYPE_CHECKING:
    from mmengine.config import Config

    from densecl.engine.domain import Domain

DEFAULT_CONFIG = "pixpro_r18_1xb32-1000s_streets-96px"


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


def _images() -> Domain:
    from densecl.engine.domain import IMAGES

    return IMAGES


@dataclass(frozen=True)
class Material:
    """What a command trains on, and how it speaks of it.

    Attributes:
        program: the command.
        samples: what the user calls his samples.
        default_config: what is run where none is named.
        data_help: what ``--data`` may be.
        data_config: ``(path, skip unreadable) -> data section``.
        domain: its domain; asked for late, so that `--help` imports no torch.
        next_steps: what to type after a run, with a place for the ``{checkpoint}`` and the
            ``{target}`` of an export.
        target: ``backbone section -> target of an export`` that fits it.
    """

    program: str
    samples: str
    default_config: str
    data_help: str
    data_config: Callable[[Path, bool], dict[str, Any]]
    domain: Callable[[], Domain]
    next_steps: tuple[str, ...]
    target: Callable[[Any], str]


PICTURES = Material(
    program="densecl",
    samples="pictures",
    default_config=DEFAULT_CONFIG,
    data_help="a folder (searched recursively) or a text file of names",
    data_config=data_config,
    domain=_images,
    next_steps=(
        "hand over:  densecl export {checkpoint} --to {target}",
        "its worth:  densecl transfer --checkpoint {checkpoint}",
    ),
    target=lambda backbone: "mmseg",
)


def add_arguments(parser: argparse.ArgumentParser, material: Material = PICTURES) -> None:
    """Config, data, budget, resume."""
    parser.add_argument(
        "config",
        nargs="?",
        default=material.default_config,
        help=f"a config file, or a name of `{material.program} configs list` "
        "(default: %(default)s)",
    )
    add_data_arguments(parser, material)
    parser.add_argument("--work-dir", type=Path, help="default: work_dirs/<config name>")
    parser.add_argument(
        "--resume",
        nargs="?",
        const=True,
        metavar="CHECKPOINT",
        help="go on from the newest checkpoint of the work dir, or from the one named; "
        "auto: start where there is none",
    )
    parser.add_argument("--max-steps", type=int, help="optimiser steps")
    parser.add_argument(
        "--max-minutes", type=float, help="stop, with a checkpoint, after this long"
    )
    parser.add_argument("--seed", type=int)


def add_data_arguments(parser: argparse.ArgumentParser, material: Material = PICTURES) -> None:
    """What `pretrain` and `validate` share."""
    samples = material.samples
    parser.add_argument("--data", type=Path, help=f"your own {samples}: {material.data_help}")
    parser.add_argument(
        "--skip-unreadable", action="store_true", help=f"skip unreadable {samples}, and count them"
    )
    parser.add_argument("--batch-size", type=int, help=f"{samples} per micro-batch and process")
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="override any field of the config, e.g. optim.lr=0.1",
    )


def read_config(args: argparse.Namespace, material: Material = PICTURES) -> Config:
    """The config with everything that the command line changes in it."""
    from densecl.engine.config import load_config, parse_overrides

    changes = parse_overrides(args.cfg_options)
    if args.batch_size is not None:
        changes["loader.batch_size"] = args.batch_size
    if getattr(args, "seed", None) is not None:
        changes["seed"] = args.seed
    if args.data is not None:
        own = material.data_config(args.data, args.skip_unreadable)
        # first, so that options of the command line add to it
        changes = {"data": {"_delete_": True, **own}, **changes}
    elif args.skip_unreadable:
        changes["data.on_error"] = "skip"
    return load_config(args.config, changes, domain=material.domain())


def run(args: argparse.Namespace, material: Material = PICTURES) -> int:
    """Pretrain; 0 also where a limit stopped the run, since nothing is lost."""
    from densecl.engine.processes import several_processes

    with several_processes(material.program):
        return _run_here(args, material)


def _run_here(args: argparse.Namespace, material: Material) -> int:
    """What each process does; rank 0 speaks for all."""
    from densecl.cli import message_of
    from densecl.distributed import rank
    from densecl.engine.processes import OtherRankError, SharedUsageError, together
    from densecl.engine.runner import pretrain
    from densecl.engine.step import NonFiniteLossError

    try:
        with together():
            config = read_config(args, material)
        result = pretrain(
            config,
            work_dir=args.work_dir,
            resume=args.resume or False,
            max_steps=args.max_steps,
            max_minutes=args.max_minutes,
            domain=material.domain(),
        )
    except (NonFiniteLossError, OtherRankError) as error:
        return _fail(str(error), 1)
    except SharedUsageError as error:
        return _fail(message_of(error), 2)
    if rank() == 0 and result.reason == "finished":
        checkpoint = shlex.quote(str(result.checkpoint))
        target = material.target(config["method"].get("backbone"))
        print(f"weights: {result.checkpoint}")
        for step in material.next_steps:
            print(step.format(checkpoint=checkpoint, target=target))
    return 130 if result.reason == "interrupted" else 0


def _fail(message: str, code: int) -> int:
    """Rank 0 says what all know. A launcher kills the others when the first ends: all wait."""
    from densecl.distributed import is_distributed, rank

    if rank() == 0:
        print(f"error: {message}", file=sys.stderr, flush=True)
    if is_distributed():
        time.sleep(1.0)
    return code
