"""`pointcl evaluate`: what checkpoints are worth, by every protocol of a suite, in one report."""

from __future__ import annotations

import argparse

from densecl.commands import evaluate
from pointcl.commands.bench import SCANS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Checkpoints, suite, where to write, limits."""
    evaluate.add_arguments(parser, SCANS)


def run(args: argparse.Namespace) -> int:
    """Open the rows, run what is missing, write the report."""
    return evaluate.run(args, SCANS)
