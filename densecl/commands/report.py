"""`densecl report`: the page and the Markdown of a finished or unfinished evaluation."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which evaluation."""
    parser.add_argument("folder", type=Path, help="that an evaluation was written into")


def run(args: argparse.Namespace) -> int:
    """Write both, say where."""
    from densecl.report import write

    report = write(args.folder)
    size = report.html.stat().st_size / 1e6
    print(f"report: {report.html} ({size:.1f} MB, one file, no network), {report.markdown}")
    return 0
