"""`pointcl configs list | show NAME | copy NAME FILE`."""

from __future__ import annotations

import argparse

from densecl.commands import configs
from densecl.commands.configs import add_arguments
from pointcl.commands.pretrain import SCANS

__all__ = ["add_arguments", "run"]


def run(args: argparse.Namespace) -> int:
    """List, show or copy."""
    return configs.run(args, SCANS)
