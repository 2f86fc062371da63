"""`pointcl validate CONFIG`: find out in seconds what a long run would stumble over."""

from __future__ import annotations

import argparse

from densecl.commands import validate
from pointcl.commands.pretrain import SCANS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Config and data."""
    validate.add_arguments(parser, SCANS)


def run(args: argparse.Namespace) -> int:
    """Build everything, run one batch, print the estimate."""
    return validate.run(args, SCANS)
