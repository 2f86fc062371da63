"""`densecl study`: pretrain, transfer and compare a grid of methods; stop and go on at any time."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from densecl.studies.kind import StudyKind


def _pictures() -> StudyKind:
    from densecl.studies.of_images import PICTURES

    return PICTURES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Study file, where data and results lie, limits."""
    parser.add_argument("study", help="a study file or a shipped name")
    parser.add_argument("--data-root", type=Path, help="folder that the study's data lie in")
    parser.add_argument("--out", type=Path, help="default: work_dirs/studies/<study>")
    parser.add_argument(
        "--max-hours", type=float, help="stop then; the same command goes on where it stopped"
    )
    parser.add_argument(
        "--rows", nargs="+", default=[], metavar="NAME", help="leave the other methods out"
    )
    parser.add_argument(
        "--only", metavar="REGEX", help="run only the cells whose line in --dry-run contains this"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="list the cells and their time, run nothing"
    )
    parser.add_argument("--no-test", action="store_true", help="leave the test splits alone")
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--cfg-options", nargs="+", action="extend", default=[], metavar="KEY=VALUE"
    )


def run(args: argparse.Namespace, kind: Callable[[], StudyKind] = _pictures) -> int:
    """Run what is missing and print the report.

    Args:
        args: of the command line.
        kind: of data; asked for late, so that `--help` imports no torch.
    """
    from densecl.studies import read_study, run_study

    config = read_study(args.study, args.cfg_options, args.data_root, args.rows, kind=kind())
    out = args.out or Path("work_dirs") / "studies" / config.name
    report = run_study(
        config,
        out,
        max_hours=args.max_hours,
        only=args.only,
        dry_run=args.dry_run,
        test=not args.no_test,
        device=args.device,
        log=lambda text: print(text, flush=True),
    )
    if report is not None:
        print(f"\n{report.path.read_text(encoding='utf-8')}\nreport: {report.path}")
    return 0
