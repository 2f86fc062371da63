"""`densecl configs list | show NAME | copy NAME FILE`."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from densecl.commands.pretrain import PICTURES, Material
from densecl.errors import UsageError

GROUPS = {
    None: "pretraining",
    "transfer": "protocols, for `transfer` and `evaluate`",
    "suites": "suites of protocols, for `evaluate`",
    "studies": "studies, for `study`",
}
"""Folder of configs -> what they are; None = any other folder, one for each method."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Three actions."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="names of all shipped configs")
    show = actions.add_parser("show", help="print a config with everything it inherits filled in")
    show.add_argument("name")
    copy = actions.add_parser("copy", help="copy a config, inheritance resolved, to edit it")
    copy.add_argument("name")
    copy.add_argument("file", type=Path)


def run(args: argparse.Namespace, material: Material = PICTURES) -> int:
    """List, show or copy."""
    from densecl.engine.config import config_text, find_config, list_configs, load_config

    domain = material.domain()
    if args.action == "list":
        paths = [find_config(name, domain) for name in list_configs(domain)]
        for folder, title in GROUPS.items():
            print(f"{title}:" if folder is None else f"\n{title}:")
            for path in paths:
                if folder == (path.parent.name if path.parent.name in GROUPS else None):
                    print(f"  {path.stem}\n      {_summary(path)}")
        return 0
    config = load_config(args.name, domain=domain)
    if args.action == "show":
        print(config_text(config))
        return 0
    if args.file.exists():
        raise UsageError(f"{args.file} exists", fix="name another file, or remove it first")
    args.file.parent.mkdir(parents=True, exist_ok=True)
    source = find_config(args.name, domain)
    if "_base_" in source.read_text():
        args.file.write_text(f"# From {source.stem}, inheritance resolved.\n{config_text(config)}")
    else:
        shutil.copyfile(source, args.file)
    print(f"written to {args.file}; run it with: {domain.program} pretrain {args.file}")
    return 0


def _summary(path: Path) -> str:
    """The first line of a config's comment."""
    lines = path.read_text().splitlines()
    return next((line.lstrip("# ") for line in lines if line.startswith("#")), "")
