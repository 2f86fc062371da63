"""`densecl validate CONFIG`: find out in seconds what a long run would stumble over."""

from __future__ import annotations

import argparse

from densecl.commands.pretrain import PICTURES, Material, add_data_arguments, read_config


def add_arguments(parser: argparse.ArgumentParser, material: Material = PICTURES) -> None:
    """Config and data."""
    listing = f"{material.program} configs list"
    parser.add_argument("config", help=f"a config file, or a name of `{listing}`")
    add_data_arguments(parser, material)


def run(args: argparse.Namespace, material: Material = PICTURES) -> int:
    """Build everything, run one batch, print the estimate."""
    from densecl.engine.preflight import validate

    print(validate(read_config(args, material), domain=material.domain()))
    print(f"run it with: {material.program} pretrain {args.config}")
    return 0
