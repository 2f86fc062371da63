"""`pointcl draw`: scans as a picture, or as a page to turn and zoom in a browser."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from densecl.errors import UsageError

if TYPE_CHECKING:
    from pointcl.data.base import ScanDataset
    from pointcl.viz.html import Shown

PAGE = (".html", ".htm")
VIEWS = ("perspective", "above")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to draw, how, where to."""
    parser.add_argument(
        "source",
        help="a point file, a folder of them, or a data set as NAME:ROOT, e.g. KITTI:data/kitti",
    )
    parser.add_argument(
        "--data",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help='further arguments of the data set, e.g. split=val, columns="xyzi"',
    )
    parser.add_argument("--out", type=Path, required=True, help="a .png, or an .html for a browser")
    parser.add_argument(
        "--scan", type=int, nargs="+", default=[0], metavar="N", help="which ones (default: 0)"
    )
    parser.add_argument(
        "--colour",
        nargs="+",
        metavar="NAME",
        help="label, instance, colour, height, intensity or a kind of segments; several make a "
        "sheet (default: the most telling one; in a page all)",
    )
    parser.add_argument("--view", choices=VIEWS, default="perspective")
    parser.add_argument("--size", type=int, nargs=2, default=(800, 1200), metavar=("H", "W"))
    parser.add_argument(
        "--background", choices=("light", "dark"), help="default: light, page: auto"
    )


def run(args: argparse.Namespace) -> int:
    """Read, draw, say where it went."""
    from densecl.viz.tile import write_png
    from pointcl.viz.html import write_html
    from pointcl.viz.sheet import scan_sheet

    page = args.out.suffix.lower() in PAGE
    if not page and args.out.suffix.lower() != ".png":
        raise UsageError(f"--out {args.out}", needed="a name that ends in .png or .html")
    if min(args.size) < 64:
        raise UsageError(f"--size {args.size[0]} {args.size[1]}", needed="at least 64 64")
    scans = [chosen(scan, args.colour) for scan in read_scans(args.source, args.data, args.scan)]
    for scan in scans:
        boxes = f", {len(scan.boxes)} boxes" if scan.boxes is not None else ""
        print(f"  {scan.name}: {len(scan.points):,} points{boxes}; {', '.join(scan.colours)}")
    if page:
        write_html(args.out, scans, theme=args.background or "auto")
        print(
            f"written to {args.out} ({args.out.stat().st_size / 1e6:.1f} MB); open it in a browser"
        )
        return 0
    names = args.colour or list(scans[0].colours)[:1]
    picture = scan_sheet(
        scans, names, view=args.view, size=tuple(args.size), background=args.background or "light"
    )
    write_png(args.out, picture)
    print(f"written to {args.out}")
    return 0


def read_scans(source: str, options: Sequence[str], numbers: Sequence[int]) -> list[Shown]:
    """The scans that the command line names.

    Raises:
        UsageError: no such file, folder, data set or scan.
    """
    from pointcl.viz.html import Shown

    if Path(source).is_file():
        return [Shown.of(read_file(Path(source), settings(options)))]
    dataset = build(source, settings(options))
    wrong = [number for number in numbers if not 0 <= number < len(dataset)]
    if wrong:
        raise UsageError(f"--scan {wrong[0]}", needed=f"0 to {len(dataset) - 1}")
    palette = dataset.palette if len(dataset.palette) else None
    found = []
    for number in numbers:
        shown = Shown.of(dataset[number], palette=palette, classes=dataset.classes)
        shown.name = dataset.name(number)
        found.append(shown)
    return found


def read_file(path: Path, options: dict[str, Any]) -> Any:
    """One point file as a scan; its labels have no names."""
    from pointcl.data.formats.read import read_cloud
    from pointcl.data.scan import Scan

    try:
        cloud = read_cloud(path, **options)
    except TypeError as error:
        raise UsageError(f"--data: {error}", needed="columns=... or intensity_scale=...") from error
    fields = ("intensity", "colour", "normal", "ring", "time", "label", "instance")
    return Scan(cloud.points, 0, path.name, **{name: getattr(cloud, name) for name in fields})


def build(source: str, options: dict[str, Any]) -> ScanDataset:
    """A folder as it is, or ``NAME:ROOT``.

    Raises:
        UsageError: there is no such folder or data set, or it takes other arguments.
    """
    from densecl.engine.names import check_arguments, registered
    from pointcl.registry import DATASETS

    DATASETS.import_from_location()
    if Path(source).is_dir():
        name, root = "ScanFolder", source
    else:
        name, _, root = source.partition(":")
        if not root and name not in DATASETS.module_dict:
            raise UsageError(
                f"no file or folder {source!r}", needed="a point file, a folder, or NAME:ROOT"
            )
    cls = registered(DATASETS, name, "data set")
    arguments = ({"root": root} if root else {}) | options
    check_arguments("--data", arguments, cls)
    try:
        return cls(**arguments)
    except TypeError as error:
        raise UsageError(f"{name}: {error}", fix="give what is missing with --data") from error


def settings(options: Sequence[str]) -> dict[str, Any]:
    """``KEY=VALUE`` words as arguments; a value that is no Python literal is text.

    Raises:
        UsageError: a word without "=".
    """
    found: dict[str, Any] = {}
    for option in options:
        key, separator, text = option.partition("=")
        if not separator or not key.isidentifier():
            raise UsageError(f"--data {option!r}", needed="KEY=VALUE")
        try:
            found[key] = ast.literal_eval(text)
        except (SyntaxError, ValueError):
            found[key] = text
    return found


def chosen(scan: Shown, names: Sequence[str] | None) -> Shown:
    """The scan in the colourings asked for, all if none were.

    Raises:
        UsageError: it lacks one.
    """
    missing = [name for name in names or () if name not in scan.colours]
    if missing:
        raise UsageError(
            f"{scan.name} has no {missing[0]}", needed=f"one of {', '.join(scan.colours)}"
        )
    if names:
        scan.colours = {name: scan.colours[name] for name in names}
    return scan
