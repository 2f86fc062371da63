"""`pointcl study`: pretrain, transfer and compare a grid of methods; stop and go on at any time."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from densecl.commands import study
from densecl.commands.study import add_arguments

if TYPE_CHECKING:
    from densecl.studies.kind import StudyKind

__all__ = ["add_arguments", "run"]


def _scans() -> StudyKind:
    from pointcl.studies.of_scans import SCANS

    return SCANS


def run(args: argparse.Namespace) -> int:
    """Run what is missing and print the report."""
    return study.run(args, _scans)
