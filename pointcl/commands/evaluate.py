"""`pointcl evaluate`: what checkpoints are worth, by every protocol of a suite, in one report."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from densecl.commands import evaluate
from pointcl.commands.transfer import CONTROLS

if TYPE_CHECKING:
    from densecl.transfer.kind import Kind


def _scans() -> Kind:
    from pointcl.transfer.of_scans import SCANS

    return SCANS


BENCH = evaluate.Bench("pointcl", "quick", CONTROLS, _scans)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Checkpoints, suite, where to write, limits."""
    evaluate.add_arguments(parser, BENCH)


def run(args: argparse.Namespace) -> int:
    """Open the rows, run what is missing, write the report."""
    return evaluate.run(args, BENCH)
