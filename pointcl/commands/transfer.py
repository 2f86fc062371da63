"""`pointcl transfer`: what checkpoints are worth with few labels, beside scratch and controls."""

from __future__ import annotations

import argparse

from densecl.commands import transfer
from pointcl.commands.bench import SCANS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Protocol, checkpoints, controls, where to write."""
    transfer.add_arguments(parser, SCANS)


def run(args: argparse.Namespace) -> int:
    """One table for each label fraction."""
    return transfer.run(args, SCANS)
