"""`densecl evaluate`: what checkpoints are worth, by every protocol of a suite, in one report."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from densecl.commands.bench import PICTURES, Bench
from densecl.errors import UsageError

if TYPE_CHECKING:
    from densecl.evaluation.run import Evaluation

REFUSED, UNFINISHED = 1, 3
"""Exit codes: something is missing from the tables; the time limit came first."""


def add_arguments(parser: argparse.ArgumentParser, bench: Bench = PICTURES) -> None:
    """Checkpoints, suite, where to write, limits."""
    parser.add_argument(
        "checkpoint",
        nargs="+",
        metavar="[NAME=]CHECKPOINT",
        help="a row: any weight file we can read; several files of one NAME are its pretraining "
        "seeds in order; `random` = random weights of the first file's backbone",
    )
    parser.add_argument("--suite", help=f"a suite file or a shipped name ({bench.suite})")
    parser.add_argument(
        "--protocols", nargs="+", metavar="NAME", help="these, in place of a suite's"
    )
    parser.add_argument("--out", type=Path, help="default: work_dirs/evaluate/<suite>")
    parser.add_argument("--data-root", type=Path, help="folder that the protocols' data lie in")
    parser.add_argument(
        "--controls",
        nargs="*",
        choices=bench.controls,
        default=list(bench.controls),
        help="control rows, made from the first checkpoint (default: all; none: --controls)",
    )
    parser.add_argument(
        "--tell",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME.KEY=VALUE",
        help="what a file does not say itself: branch, channel_order, mean, std, backbone",
    )
    parser.add_argument("--show-key-map", action="store_true", help="which entry fills what")
    parser.add_argument(
        "--max-hours", type=float, help="stop then; the same command goes on where it stopped"
    )
    parser.add_argument("--no-test", action="store_true", help="leave the test splits alone")
    parser.add_argument(
        "--dry-run", action="store_true", help="open rows and data, list the runs, run nothing"
    )
    parser.add_argument("--no-report", action="store_true", help="numbers only")
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--cfg-options", nargs="+", action="extend", default=[], metavar="KEY=VALUE"
    )


def run(args: argparse.Namespace, bench: Bench = PICTURES) -> int:
    """Open the rows, run what is missing, write the report."""
    from densecl.evaluation.pace import Pace
    from densecl.evaluation.rows import open_rows, parse_rows, parse_told
    from densecl.evaluation.run import Settings, describe, plan
    from densecl.evaluation.run import run as run_all
    from densecl.evaluation.suite import read_suite, suite_of

    kind = bench.kind()
    given, randoms = parse_rows(args.checkpoint)
    told = parse_told(args.tell, list(given))
    if not given:
        raise UsageError(
            "no weight file", needed="at least one, whose backbone random weights are made of"
        )
    if args.protocols:
        suite = suite_of(args.suite or "protocols", tuple(args.protocols), kind.domain)
    else:
        suite = read_suite(args.suite or bench.suite, kind.domain)
    out = args.out or Path("work_dirs") / "evaluate" / suite.name
    rows, refused = open_rows(given, told, kind, _say, show_key_map=args.show_key_map)
    if not rows:
        _say("every row was refused: nothing to compare")
        return REFUSED
    settings = Settings(
        kind,
        out,
        controls=args.controls,
        test=not args.no_test,
        device=args.device,
        data_root=args.data_root,
        overrides=args.cfg_options,
        max_hours=args.max_hours,
        log=_say,
        command=lambda protocol: command_of(args, bench, out, protocol),
    )
    evaluation = plan(suite, rows, randoms, refused, settings)
    if args.dry_run:
        describe(evaluation, Pace())
        return REFUSED if evaluation.record.refused else 0
    run_all(evaluation)
    if not args.no_report:
        _report(out)
    return _close(args, bench, evaluation, out)


def _close(args: argparse.Namespace, bench: Bench, evaluation: Evaluation, out: Path) -> int:
    """Say where things lie, what is missing and what to run next."""
    _say(f"tables, pictures and the record of it all: {out}")
    refused = evaluation.record.refused
    for each in refused:
        _say(f"not in the tables: {each}")
    if not evaluation.complete:
        _say(f"unfinished; the same command goes on:\n  {command_of(args, bench, out)}")
    elif args.no_test:
        again = command_of(args, bench, out).replace(" --no-test", "")
        _say(f"scores are of validation; to read the test splits, once:\n  {again}")
    if refused:
        return REFUSED
    return 0 if evaluation.complete else UNFINISHED


def _report(out: Path) -> None:
    try:
        from densecl.report import write
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("densecl.report"):
            raise
        _say("no report: this installation has no densecl.report")
        return
    report = write(out)
    _say(f"report: {report.html}, {report.markdown}")


def command_of(
    args: argparse.Namespace, bench: Bench, out: Path, protocol: str | None = None
) -> str:
    """The command line that makes an evaluation, or the tables of one of its protocols."""
    words = [bench.program, "evaluate", *args.checkpoint]
    if protocol is not None:
        named = [p for p in args.protocols or () if Path(p).name.removesuffix(".py") == protocol]
        words += ["--protocols", *(named or [protocol])]
    elif args.protocols:
        words += ["--protocols", *args.protocols]
    if args.suite or (protocol is None and not args.protocols):
        words += ["--suite", args.suite or bench.suite]
    words += ["--out", str(out)]
    if args.data_root is not None:
        words += ["--data-root", str(args.data_root)]
    if list(args.controls) != list(bench.controls):
        words += ["--controls", *args.controls]
    for option in ("tell", "cfg_options"):
        if getattr(args, option):
            words += [f"--{option.replace('_', '-')}", *getattr(args, option)]
    words += ["--no-test"] if args.no_test else []
    words += ["--device", args.device] if args.device != "auto" else []
    return shlex.join(words)


def _say(text: str) -> None:
    print(text, flush=True)
