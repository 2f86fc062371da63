"""`densecl validate CONFIG`: find out in seconds what a long run would stumble over."""

from __future__ import annotations

import argparse

from densecl.commands.pretrain import add_data_arguments, read_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Config and data."""
    parser.add_argument("config", help="a config file, or a name of `densecl configs list`")
    add_data_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Build everything, run one batch, print the estimate."""
    from densecl.engine.preflight import validate

    print(validate(read_config(args)))
    print(f"run it with: densecl pretrain {args.config}")
    return 0
