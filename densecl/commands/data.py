"""`densecl data`: look at a data set before it is trained on."""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from pathlib import Path

from densecl.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Three actions."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = actions.add_parser("check", help="decode every picture, name the unreadable ones")
    check.add_argument("path", type=Path, help="a folder, or a text file of names")
    sheet = actions.add_parser("streets", help="draw a contact sheet of the embedded world")
    sheet.add_argument("--split", default="val", help="pretrain, train, val or test")
    sheet.add_argument("--count", type=int, default=6)
    sheet.add_argument("--size", type=int, nargs=2, default=(120, 160), metavar=("H", "W"))
    sheet.add_argument("--out", type=Path, help="default: work_dirs/streets/<split>.png")
    controls = actions.add_parser(
        "controls", help="prove that the streets cannot be solved by a shortcut"
    )
    controls.add_argument(
        "--budget", choices=("full", "fast"), default="full", help="fast shows only that it runs"
    )


def run(args: argparse.Namespace) -> int:
    """Check, draw or prove."""
    if args.action == "check":
        return check(args.path)
    if args.action == "controls":
        return controls(args.budget)
    return sheet(args)


def check(path: Path) -> int:
    """Decode all pictures; 1 if one of them is unreadable."""
    from densecl.commands.pretrain import data_config
    from densecl.data.decode import UnreadableFileError
    from densecl.registry import DATASETS

    DATASETS.import_from_location()
    dataset = DATASETS.build(data_config(path, skip_unreadable=False))
    sizes: dict[tuple[int, int], int] = {}
    bad = []
    began = time.monotonic()
    for index in range(len(dataset)):
        try:
            height, width = dataset[index].frames[0].image.shape[:2]
            sizes[height, width] = sizes.get((height, width), 0) + 1
        except UnreadableFileError as error:
            bad.append(error)
    seconds = time.monotonic() - began
    print(f"{len(dataset)} pictures in {path}, decoded in {seconds:.1f} s")
    for (height, width), count in sorted(sizes.items(), key=lambda item: -item[1])[:5]:
        print(f"  {count} of {width} x {height}")
    for file in bad[:20]:
        print(f"  unreadable: {file.path}: {file.reason}")
    if bad:
        print(f"{len(bad)} unreadable; pretrain with --skip-unreadable, or mend them")
        return 1
    print(f"all readable; pretrain on them with: densecl pretrain --data {path}")
    return 0


def sheet(args: argparse.Namespace) -> int:
    """Frame, labels, depth and flow of a few street scenes, to look at."""
    from densecl.data.streets import Streets, contact_sheet
    from densecl.viz.tile import write_png

    if args.count < 1:
        raise UsageError(f"--count {args.count}", needed="at least 1")
    world = Streets(
        split=args.split, length=args.count, size=tuple(args.size), clip_length=2, cache=False
    )
    out = args.out or Path("work_dirs") / "streets" / f"{args.split}.png"
    write_png(out, contact_sheet(world, args.count, columns=1))
    print(f"written to {out}: picture, labels, depth, motion; one scene a row")
    return 0


def controls(budget: str) -> int:
    """Print the control table; 1 if a threshold is not met."""
    from densecl.data.streets.controls import report, table

    rows = report(budget, log=partial(print, file=sys.stderr, flush=True))
    print(table(rows))
    verdict = rows["verdict"]
    return int(not (verdict["controls_within_limit"] and verdict["few_labels_between"]))
