"""`pointcl segments`: cut scans into segments once; check, draw and score what is stored."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from densecl.commands import segments as shared
from densecl.errors import UsageError

if TYPE_CHECKING:
    from mmengine.registry import Registry

    from densecl.regions.build import Source


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Four actions."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    build = actions.add_parser("build", help="compute what a store lacks; goes on after a stop")
    _add_data(build)
    shared.add_build_arguments(build, SCANS)
    shared.add_verify_arguments(actions)

    draw = actions.add_parser("draw", help="draw segments and foreground as .png or .html")
    _add_data(draw, default="streets:val")
    shared.add_method_arguments(draw, SCANS)
    draw.add_argument("--store", type=Path, help="draw what is stored instead of computing it")
    draw.add_argument("--count", type=int, default=2, help="scans, evenly spread (%(default)s)")
    draw.add_argument("--view", choices=("perspective", "above"), default="perspective")
    draw.add_argument("--size", type=int, nargs=2, default=(600, 900), metavar=("H", "W"))
    draw.add_argument("--out", type=Path, help="default: work_dirs/segments/<method>.png")

    score = actions.add_parser("score", help="measure a store against labels and objects")
    score.add_argument("store", type=Path)
    _add_data(score)


def _add_data(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    parser.add_argument(
        "data",
        nargs="?",
        default=default,
        help="a config, streets:SPLIT for the embedded world, a folder of scans, or a data set as "
        "NAME:ROOT, e.g. KITTI:data/kitti" + (f" (default: {default})" if default else ""),
    )
    parser.add_argument(
        "--data",
        dest="options",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help='further arguments of the data set, e.g. split=val, columns="xyzi"',
    )
    parser.add_argument("--skip-unreadable", action="store_true", help="leave out unreadable files")


def run(args: argparse.Namespace) -> int:
    """Build, verify, draw or score."""
    return {"build": build, "verify": shared.verify, "draw": draw, "score": score}[args.action](
        args
    )


def build(args: argparse.Namespace) -> int:
    """Fill a store; 1 if a scan could not be read."""
    return shared.build(args, SCANS)


def draw(args: argparse.Namespace) -> int:
    """Write a sheet, or a page to turn in a browser."""
    from densecl.regions import SegmentStore
    from densecl.viz.tile import write_png
    from pointcl.commands.draw import PAGE
    from pointcl.regions import build_segmentation, with_segments
    from pointcl.viz.html import Shown, write_html
    from pointcl.viz.sheet import scan_sheet

    if args.count < 1 or min(args.size) < 64:
        raise UsageError(f"--count {args.count} --size {args.size}", needed="1 and 64 or more")
    dataset, wanted = read_data(args)
    store = None if args.store is None else SegmentStore.open(args.store)
    if store is None:
        method = shared.read_method(args, wanted.get("method"), SCANS)
    else:
        method = build_segmentation({"type": store.method["type"]})
    count = min(args.count, len(dataset))
    shown = []
    for index in (number * len(dataset) // count for number in range(count)):
        scan = dataset[index]
        if store is None:
            segments = method(scan)
        else:
            segments = store.get(scan.name, method.identify(scan))
        print(f"  {scan.name}: {len(scan)} points, {segments.num_regions} segments")
        scan = with_segments(replace(scan, regions={}), segments)
        palette = dataset.palette if len(getattr(dataset, "palette", ())) else None
        shown.append(Shown.of(scan, palette=palette, classes=getattr(dataset, "classes", ())))
    name = type(method).__name__.lower()
    out = args.out or Path("work_dirs") / "segments" / f"{name}.png"
    if out.suffix.lower() in PAGE:
        write_html(out, shown)
    else:
        write_png(out, scan_sheet(shown, ("segment", "foreground"), view=args.view, size=args.size))
    print(f"drawing written to {out}")
    return 0


def score(args: argparse.Namespace) -> int:
    """Print purity, coverage of objects, and what the foreground is worth."""
    import numpy as np

    from densecl.regions import SegmentStore
    from pointcl.regions import build_segmentation
    from pointcl.regions.quality import LEAST, CloudQuality, measure_scan

    store = SegmentStore.open(args.store)
    dataset, _ = read_data(args)
    method = build_segmentation({"type": store.method["type"]})
    found = []
    for index in range(len(dataset)):
        scan = dataset[index]
        found.append(measure_scan(scan, store.get(scan.name, method.identify(scan))))
    print(f"{len(found)} scans, {store.method['type']} in {args.store}")
    for field in fields(CloudQuality):
        values = np.array([getattr(one, field.name) for one in found], float)
        known = values[~np.isnan(values)]
        print(f"  {field.name:<22}" + (f"{known.mean():8.4g}" if len(known) else "       -"))
    print(f"means over scans; objects of {LEAST} points or more; -: the data have none")
    return 0


def read_data(args: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """The data set that the command line names, and the ``WithSegments`` of a config around it.

    Raises:
        UsageError: none is named, or it cannot be built.
    """
    from pointcl.commands.draw import build as by_name
    from pointcl.commands.draw import settings
    from pointcl.data.segmented import build_dataset

    if args.data is None:
        raise UsageError("no data", fix="give a config, streets:SPLIT, a folder or NAME:ROOT")
    options = settings(args.options)
    skip = {"on_error": "skip"} if args.skip_unreadable else {}
    if args.data.startswith("streets:"):
        # segments need no pictures; and a sheet few scans: not worth rendering them all for
        plain = {"split": args.data.partition(":")[2], "cameras": ()}
        cache = {"cache": False} if args.action == "draw" else {}
        return by_name("LidarStreets", plain | cache | options), {}
    if Path(args.data).is_dir() or ":" in args.data:
        return by_name(args.data, skip | options), {}
    wanted, config = config_data(args.data)
    return build_dataset(config | skip | options), wanted


def config_data(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The ``WithSegments`` of a config, {} where it has none, and the data set of scans in it.

    Raises:
        UsageError: no such config, or a faulty one.
    """
    from densecl.engine.config import load_config, plain_config
    from pointcl.engine.domain import POINTS

    wanted: dict[str, Any] = {}
    config = plain_config(load_config(name, domain=POINTS)["data"])
    while isinstance(config.get("dataset"), Mapping):
        if config["type"] == "WithSegments":
            wanted = config
        config = dict(config["dataset"])
    return wanted, config


def _registry() -> Registry:
    from pointcl.registry import REGIONS

    return REGIONS


def _items(dataset: Any) -> Source:
    from densecl.regions import Items

    return Items(dataset)


SCANS = shared.Inputs(
    kind="cloud",
    one="scan",
    methods={"dbscan": "Dbscan", "supervoxels": "Supervoxels", "normal_graph": "NormalGraph"},
    registry=_registry,
    source=_items,
    read_data=read_data,
)
