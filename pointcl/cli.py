"""The `pointcl` command: one subcommand per job, each in its file of `pointcl.commands`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from densecl.cli import build_parser as build
from densecl.cli import run_command

COMMANDS = {
    "pretrain": "pretrain a sparse backbone on unlabelled scans",
    "transfer": "fine-tune or probe with few labels beside scratch and controls, print the table",
    "evaluate": "what checkpoints are worth, by a suite of protocols, in one report",
    "study": "run a whole comparison: methods, seeds, budgets; stop and go on at any time",
    "pairs": "count, judge and draw the positive pairs that a config trains on",
    "segments": "cut scans into segments once; check, draw and score the stored segments",
    "draw": "draw scans of any format or data set as PNG, or as a page to turn in a browser",
    "export": "hand a sparse backbone over to another library, with a proof",
    "curves": "draw loss, similarities and health of one or several runs as PNG",
    "configs": "list, show or copy the shipped configs",
    "validate": "build everything a config names, run one batch, estimate memory and time",
    "doctor": "report versions and the backends of sparse convolution",
}


def build_parser(command: str | None = None) -> argparse.ArgumentParser:
    """The parser; only the named command's module is imported, so `--help` answers at once."""
    return build(
        command,
        program="pointcl",
        description="Contrastive pretraining on points and voxels.",
        commands=COMMANDS,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; bad input ends with a message instead of a traceback.

    Returns:
        0 on success, 2 for bad input, 130 when interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = next((a for a in arguments if a in COMMANDS), None)
    return run_command(build_parser(command), arguments)


if __name__ == "__main__":
    sys.exit(main())
