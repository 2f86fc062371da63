"""The `densecl` command: one subcommand per job, each in its file of `densecl.commands`."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Mapping, Sequence

from densecl.errors import UsageError

COMMANDS = {
    "pretrain": "pretrain a backbone on unlabelled pictures",
    "transfer": "fine-tune with few labels beside scratch and the controls, print the table",
    "evaluate": "what checkpoints are worth, by a suite of protocols, in one report",
    "report": "write the page and the Markdown of an evaluation",
    "study": "run a whole comparison: methods, folds, seeds, budgets; stop and go on at any time",
    "export": "hand a backbone over to another library, with a proof",
    "pairs": "draw the positive pairs of any builder on a picture",
    "data": "look at a data set: contact sheet, unreadable files, controls of the streets",
    "segments": "cut pictures into regions once; check, draw and score the stored segments",
    "curves": "draw loss, similarities and health of one or several runs as PNG",
    "configs": "list, show or copy the shipped configs",
    "validate": "build everything a config names, run one batch, estimate memory and time",
    "doctor": "report versions, backends, OpenCV, memory",
}


def build_parser(
    command: str | None = None,
    *,
    program: str = "densecl",
    description: str = "Dense contrastive pretraining and what it is worth.",
    commands: Mapping[str, str] = COMMANDS,
) -> argparse.ArgumentParser:
    """The parser; only the named command's module is imported, so `--help` answers at once.

    Args:
        command: the one that is called.
        program: its name, and the package whose ``commands`` hold the modules.
        description: of the program.
        commands: name -> summary.
    """
    parser = argparse.ArgumentParser(prog=program, description=description)
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in commands.items():
        sub = subparsers.add_parser(name, help=summary, description=summary)
        if name == command:
            module = importlib.import_module(f"{program}.commands.{name}")
            module.add_arguments(sub)
            sub.set_defaults(run=module.run)
    return parser


def message_of(error: UsageError) -> str:
    """The message alone: torch wraps that of a loader's worker in the worker's traceback."""
    text = str(error)
    if "Original Traceback" not in text:
        return text
    return text.rpartition(f"{UsageError.__name__}: ")[2].strip()


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; bad input ends with a message instead of a traceback.

    Returns:
        0 on success, 2 for bad input, 130 when interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = next((a for a in arguments if a in COMMANDS), None)
    return run_command(build_parser(command), arguments)


def run_command(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> int:
    """Parse and run; see ``main``."""
    args = parser.parse_args(arguments)
    try:
        code = int(args.run(args) or 0)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # `| head` has read enough. What is left must not be flushed at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except UsageError as error:
        print(f"error: {message_of(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
