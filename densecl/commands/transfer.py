"""`densecl transfer`: what checkpoints are worth with few labels, beside scratch and controls."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from densecl.commands.bench import PICTURES, Bench
from densecl.errors import UsageError

if TYPE_CHECKING:
    from densecl.transfer.protocol_file import ProtocolFile


def add_arguments(parser: argparse.ArgumentParser, bench: Bench = PICTURES) -> None:
    """Protocol, checkpoints, controls, where to write."""
    parser.add_argument(
        "protocol",
        nargs="?",
        default=bench.protocol,
        help="a protocol file or a shipped name (default: %(default)s)",
    )
    parser.add_argument(
        "--checkpoint",
        action="append",
        default=[],
        metavar="[NAME=]FILE",
        help="a row: any weight file we can read; several files of one NAME are its pretraining "
        "seeds in order; give the option again for more rows",
    )
    parser.add_argument("--data-root", type=Path, help="folder that the protocol's data lie in")
    parser.add_argument(
        "--controls",
        nargs="*",
        choices=bench.controls,
        default=list(bench.controls),
        help="control rows, made from the first checkpoint (default: all; none: --controls)",
    )
    parser.add_argument("--fraction", type=float, action="append", help="label fraction(s)")
    parser.add_argument("--out", type=Path, help="default: work_dirs/transfer/<protocol>")
    parser.add_argument("--max-hours", type=float, help="stop before a run that would not fit")
    parser.add_argument("--no-test", action="store_true", help="leave the test split alone")
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--cfg-options", nargs="+", action="extend", default=[], metavar="KEY=VALUE"
    )


def run(args: argparse.Namespace, bench: Bench = PICTURES) -> int:
    """One table for each label fraction."""
    from densecl.transfer.protocol_file import read_protocol
    from densecl.transfer.tables import transfer_tables

    kind = bench.kind()
    protocol = read_protocol(args.protocol, args.cfg_options, args.data_root, kind=kind)
    checkpoints = parse_checkpoints(args.checkpoint, protocol)
    if not checkpoints:
        raise UsageError(
            "no --checkpoint",
            needed="at least one row to compare with scratch",
            fix=f"{bench.program} transfer --checkpoint NAME=work_dirs/<run>/last.pth",
        )
    out = args.out or Path("work_dirs") / "transfer" / protocol.name
    tables = transfer_tables(
        protocol,
        checkpoints,
        out,
        kind=kind,
        controls=args.controls,
        fractions=tuple(args.fraction or protocol.fractions),
        test=not args.no_test,
        max_hours=args.max_hours,
        device=args.device,
    )
    for fraction, table in tables.items():
        share = f", {fraction:.0%} of the labels" if protocol.learns else ""
        print(f"\n## {protocol.name}{share}\n\n{table.to_markdown()}")
    print(f"tables, cells and label subsets: {out}")
    return 0


def parse_checkpoints(options: Sequence[str], protocol: ProtocolFile) -> dict[str, dict[int, Path]]:
    """Row name -> pretraining seed -> file.

    One file serves all seeds; several files under one name are those of the seeds in order.

    Raises:
        UsageError: a file that is not there, or more or fewer files than seeds.
    """
    files: dict[str, list[Path]] = {}
    for option in options:
        name, separator, value = option.partition("=")
        path = Path(value if separator else option)
        if not path.is_file():
            raise UsageError(f"--checkpoint {option}: no such file {path}")
        files.setdefault(name if separator else path.stem, []).append(path)
    rows = {}
    for name, paths in files.items():
        if len(paths) == 1:
            paths = paths * len(protocol.seeds)
        if len(paths) != len(protocol.seeds):
            raise UsageError(
                f"row {name!r} has {len(paths)} files for {len(protocol.seeds)} pretraining seeds",
                needed="one file, or one for each of the protocol's seeds",
            )
        rows[name] = dict(zip(protocol.seeds, paths, strict=True))
    return rows
