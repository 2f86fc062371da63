"""`densecl segments`: cut a data set into regions once, check, draw and score them."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from densecl.errors import UsageError

if TYPE_CHECKING:
    from mmengine.registry import Registry

    from densecl.regions import BuildReport, SegmentStore
    from densecl.regions.build import Source

SHOWN = 5


@dataclass(frozen=True)
class Inputs:
    """What a command cuts into regions, and how it speaks of it.

    Attributes:
        kind: "image" or "cloud".
        one: what the user calls an input; several have an "s" more.
        methods: name on the command line -> registered type; the first is the default.
        registry: where types are looked up; asked for late, so that `--help` imports little.
        source: inputs of a data set, for ``densecl.regions.build``.
        read_data: the data set of the arguments, and the ``WithSegments`` of a config around it.
    """

    kind: str
    one: str
    methods: Mapping[str, str]
    registry: Callable[[], Registry]
    source: Callable[[Any], Source]
    read_data: Callable[[argparse.Namespace], tuple[Any, dict[str, Any]]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Four actions."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    build = actions.add_parser("build", help="compute what a store lacks; goes on after a stop")
    _add_data(build)
    add_build_arguments(build, PICTURES)
    add_verify_arguments(actions)

    draw = actions.add_parser("draw", help="draw borders, regions and foreground as a PNG")
    _add_data(draw, default="streets:val")
    add_method_arguments(draw, PICTURES)
    draw.add_argument("--store", type=Path, help="draw what is stored instead of computing it")
    draw.add_argument("--count", type=int, default=4, help="pictures, evenly spread (%(default)s)")
    draw.add_argument("--height", type=int, default=240, help="of each picture, in pixels")
    draw.add_argument("--out", type=Path, help="default: work_dirs/segments/<method>.png")

    score = actions.add_parser("score", help="measure how well a store keeps to the labels")
    score.add_argument("store", type=Path)
    _add_data(score)
    score.add_argument("--labels", type=Path, help="folder of label PNGs named as the pictures are")
    score.add_argument(
        "--ignore", type=int, nargs="+", default=[255], help="label ids that count nowhere"
    )
    score.add_argument("--tolerance", type=int, default=2, help="of the boundary recall, in pixels")


def _add_data(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    parser.add_argument(
        "data",
        nargs="?",
        default=default,
        help="a config, or streets:SPLIT for the embedded world"
        + (f" (default: {default})" if default else ""),
    )
    parser.add_argument(
        "--data-root", type=Path, help="your own pictures: a folder, or a text file of names"
    )
    parser.add_argument("--skip-unreadable", action="store_true", help="leave out unreadable files")


def add_build_arguments(parser: argparse.ArgumentParser, inputs: Inputs) -> None:
    """Where to build what, and how fast; the data are added before."""
    add_method_arguments(parser, inputs)
    parser.add_argument("--out", type=Path, help="the store; default: work_dirs/segments/<method>")
    parser.add_argument("--workers", type=int, default=_cores(), help="processes (%(default)s)")
    parser.add_argument("--limit", type=int, help="compute at most so many, then stop")


def add_verify_arguments(actions: Any) -> None:
    """The action `verify`."""
    verify = actions.add_parser("verify", help="read every entry, name the damaged ones")
    verify.add_argument("store", type=Path)
    verify.add_argument(
        "--repair", action="store_true", help="remove damaged entries; `build` computes them again"
    )


def add_method_arguments(parser: argparse.ArgumentParser, inputs: Inputs) -> None:
    """A segmentation and its settings."""
    default = next(iter(inputs.methods))
    parser.add_argument("--method", choices=sorted(inputs.methods), help=f"default: {default}")
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="settings of the method, e.g. "
        + ("segments=150 or foreground=True" if inputs.kind == "image" else "eps=0.3"),
    )


def _cores() -> int:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(8, count or 1)


def run(args: argparse.Namespace) -> int:
    """Build, verify, draw or score."""
    return {"build": build, "verify": verify, "draw": draw, "score": score}[args.action](args)


def build(args: argparse.Namespace, inputs: Inputs | None = None) -> int:
    """Fill a store; 1 if an input could not be read."""
    from densecl import regions

    inputs = inputs or PICTURES
    dataset, wanted = inputs.read_data(args)
    method = read_method(args, wanted.get("method"), inputs)
    name = type(method).__name__.lower()
    out = args.out or wanted.get("store") or Path("work_dirs") / "segments" / name
    store = regions.SegmentStore.create(out, kind=inputs.kind, method=method.describe())
    report = regions.build(
        store, inputs.source(dataset), method, workers=args.workers, limit=args.limit
    )
    _tell(report, store, inputs.one)
    return int(bool(report.unreadable))


def _tell(report: BuildReport, store: SegmentStore, one: str) -> None:
    mean = f", {report.regions / report.computed:.0f} regions a {one}" if report.computed else ""
    print(f"{report.computed} computed{mean}; {report.present} were there already")
    if report.replaced:
        shown = ", ".join(report.replaced[:SHOWN])
        print(f"{len(report.replaced)} of them replaced, changed or damaged before: {shown}")
    for name, reason in list(report.unreadable.items())[:SHOWN]:
        print(f"  unreadable: {name}: {reason}")
    if report.unreadable:
        print(f"{len(report.unreadable)} could not be read and have no segments")
    folder = shlex.quote(str(store.folder))
    if report.remaining:
        print(f"{report.remaining} not looked at yet: the same command goes on")
    else:
        print(
            f"segments in {folder}; "
            f"look at them: {store.program} segments draw ... --store {folder}\n"
            f'train on them: data = dict(type="WithSegments", dataset=dict(...), '
            f"store={str(store.folder)!r})"
        )


def verify(args: argparse.Namespace) -> int:
    """Check a store; 1 if an entry is damaged and stays so."""
    from densecl.regions import SegmentStore

    store = SegmentStore.open(args.store)
    found = store.verify(repair=args.repair)
    settings = ", ".join(f"{key}={value}" for key, value in store.method.items() if key != "type")
    print(f"{store.method['type']}({settings}) of {store.kind}s, key {store.key}")
    print(f"{found.whole} whole entries, {found.num_bytes / 1e6:.1f} MB")
    for path, reason in list(found.damaged.items())[:SHOWN]:
        print(f"  damaged: {path}: {reason}")
    if found.leftovers:
        print(f"{len(found.leftovers)} unfinished files of a process that was killed; harmless")
    if found.damaged and args.repair:
        print(f"{len(found.damaged)} removed; compute them again: {store.build_command()}")
    elif found.damaged:
        print(
            f"{len(found.damaged)} damaged: {store.program} segments verify {args.store} --repair"
        )
        return 1
    else:
        print(f"{args.store} is whole")
    return 0


def draw(args: argparse.Namespace) -> int:
    """Write a contact sheet."""
    from densecl.regions import Pictures, SegmentStore, digest
    from densecl.viz.segments import segment_sheet
    from densecl.viz.tile import write_png

    if args.count < 1 or args.height < 16:
        raise UsageError(
            f"--count {args.count} --height {args.height}", needed="1 or more, 16 or more"
        )
    dataset, wanted = read_data(args)
    pictures = Pictures(dataset)
    count = min(args.count, len(pictures))
    chosen = [index * len(pictures) // count for index in range(count)]
    read = [pictures.read(index) for index in chosen]
    images = [image for _, image in read]
    if args.store is not None:
        store = SegmentStore.open(args.store)
        name = str(store.method["type"]).lower()
        found = [store.get(key, digest(image)) for key, image in read]
    else:
        method = read_method(args, wanted.get("method"), PICTURES)
        name = type(method).__name__.lower()
        found = [method(image) for image in images]
    out = args.out or Path("work_dirs") / "segments" / f"{name}.png"
    write_png(out, segment_sheet(images, found, args.height))
    regions = ", ".join(str(segments.num_regions) for segments in found)
    print(f"regions: {regions}\ndrawing written to {out}")
    return 0


def score(args: argparse.Namespace) -> int:
    """Print boundary recall, under-segmentation error and achievable accuracy."""
    import numpy as np

    from densecl.regions import Pictures, SegmentStore, digest
    from densecl.regions.pictures import frame_name
    from densecl.regions.quality import IGNORE, measure

    store = SegmentStore.open(args.store)
    dataset, _ = read_data(args)
    found = []
    clip_length = Pictures(dataset).clip_length
    for index in range(len(dataset)):
        sample = dataset[index]
        for number, frame in enumerate(sample.frames[:clip_length]):
            name = frame_name(sample.name, number)
            labels = _labels(args, name) if args.labels else frame.maps.get("label")
            if labels is None:
                raise UsageError(
                    f"{name} has no labels", fix="give a folder of label PNGs: --labels FOLDER"
                )
            labels = np.where(np.isin(labels, args.ignore), IGNORE, labels)
            ids = store.get(name, digest(frame.image)).ids
            if ids.shape != labels.shape:
                raise UsageError(f"{name}: segments {ids.shape}, labels {labels.shape}")
            found.append(measure(ids, labels, args.tolerance))
    print(f"{len(found)} pictures, {store.method['type']} in {args.store}")
    for field in fields(found[0]):
        values = np.array([getattr(one, field.name) for one in found], float)
        print(f"  {field.name:<26}{np.nanmean(values):8.4g}")
    print("means over pictures; recall within", args.tolerance, "pixels; error: lower is better")
    return 0


def _labels(args: argparse.Namespace, name: str) -> Any:
    from densecl.data.decode import read_ids

    path = (args.labels / name).with_suffix(".png")
    if not path.is_file():
        raise UsageError(
            f"no label {path}", needed="for each picture a PNG of class ids of the same name"
        )
    return read_ids(path)


def read_data(args: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """The data set that the command line names, and the ``WithSegments`` of a config around it.

    Raises:
        UsageError: none is named, or it cannot be built.
    """
    from densecl.commands.pretrain import data_config
    from densecl.data.segmented import build_dataset

    wanted: dict[str, Any] = {}
    if args.data_root is not None:
        config = data_config(args.data_root, args.skip_unreadable)
    elif args.data is None:
        raise UsageError(
            "no data", fix="give a config, streets:SPLIT, or --data-root with your own pictures"
        )
    elif args.data.startswith("streets:"):
        # a sheet needs a few frames only: not worth rendering them all for
        cache = False if args.action == "draw" else None
        config = {"type": "Streets", "split": args.data.partition(":")[2], "cache": cache}
    else:
        from densecl.engine.config import load_config, plain_config

        config = plain_config(load_config(args.data)["data"])
        if config["type"] == "WithSegments":
            wanted, config = config, config["dataset"]
        if args.skip_unreadable:
            config["on_error"] = "skip"
    return build_dataset(config), wanted


def read_method(args: argparse.Namespace, wanted: Mapping[str, Any] | None, inputs: Inputs) -> Any:
    """The segmentation that the command line names, or else the config.

    Raises:
        UsageError: an unknown method or setting, or a bad value.
    """
    from densecl.engine.config import parse_overrides
    from densecl.engine.names import registered, unknown_name

    settings = dict(wanted or {})
    kind = settings.pop("type", next(iter(inputs.methods.values())))
    if args.method is not None and inputs.methods[args.method] != kind:
        kind, settings = inputs.methods[args.method], {}
    settings |= parse_overrides(args.set)
    cls = registered(inputs.registry(), kind, "method.type")
    known = [field.name for field in fields(cls)]
    for name in settings:
        if name not in known:
            raise unknown_name(f"--set {name}", name, known)
    return cls(**settings)


def _registry() -> Registry:
    from densecl.registry import REGIONS

    return REGIONS


def _frames(dataset: Any) -> Source:
    from densecl.regions import Pictures

    return Pictures(dataset)


PICTURES = Inputs(
    kind="image",
    one="picture",
    methods={"slic": "Slic", "felzenszwalb": "Felzenszwalb"},
    registry=_registry,
    source=_frames,
    read_data=read_data,
)
