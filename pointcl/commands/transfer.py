"""`pointcl transfer`: what checkpoints are worth with few labels, beside scratch and controls."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from densecl.commands import transfer

if TYPE_CHECKING:
    from densecl.transfer.kind import Kind


def _scans() -> Kind:
    from pointcl.transfer.of_scans import SCANS

    return SCANS


CONTROLS = (*transfer.CONTROLS, "points")
BENCH = transfer.Bench("pointcl", "streets_lidar-5pct", CONTROLS, _scans)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Protocol, checkpoints, controls, where to write."""
    transfer.add_arguments(parser, BENCH)


def run(args: argparse.Namespace) -> int:
    """One table for each label fraction."""
    return transfer.run(args, BENCH)
