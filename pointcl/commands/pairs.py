"""`pointcl pairs`: count, judge and draw the positive pairs that a config trains on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from densecl.commands.pretrain import add_data_arguments, read_config
from densecl.errors import UsageError
from pointcl.commands.pretrain import SCANS

if TYPE_CHECKING:
    from densecl.pairs import Pairs, PointSet


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Config, data, how many."""
    parser.add_argument(
        "config",
        nargs="?",
        default=SCANS.default_config,
        help="a config file, or a name of `pointcl configs list` (default: %(default)s)",
    )
    add_data_arguments(parser, SCANS)
    parser.add_argument("--count", type=int, default=4, help="samples to look at, evenly spread")
    parser.add_argument("--out", type=Path, help="draw them, a row for each sample, as PNG")
    parser.add_argument("--epoch", type=int, default=0, help="whose augmentation they get")


def run(args: argparse.Namespace) -> int:
    """Make the views of some samples, pair them, say how many pairs and how good."""
    import numpy as np

    from densecl.engine.build import build_data, build_method
    from densecl.engine.config import plain_config
    from densecl.viz.tile import write_png
    from pointcl.engine.domain import POINTS
    from pointcl.methods.base import PointMethod
    from pointcl.viz.pairs import draw_pairs

    if args.count < 1:
        raise UsageError(f"--count {args.count}", needed="at least 1")
    config = read_config(args, SCANS)
    dataset = build_data(config, POINTS)
    method = build_method(config, config["schedule"]["max_steps"] or 1, POINTS)
    assert isinstance(method, PointMethod)
    views = POINTS.build_views(plain_config(config))
    count = min(args.count, len(dataset))
    drawn = []
    for place in range(count):
        index = place * len(dataset) // count
        batch = views.collate([views(dataset[index], args.epoch)])
        print(dataset.name(index))
        src, dst, pairs = method.positives(batch)
        for name, value in numbers(src, dst, pairs).items():
            print(f"  {name:<28}{value}")
        if args.out is not None:
            first, second = batch.views
            drawn.append(draw_pairs(first, second, src, dst, pairs))
    if args.out is not None:
        write_png(args.out, np.concatenate(drawn))
        print(f"drawing written to {args.out}: the same colour is the same place")
    return 0


def numbers(src: PointSet, dst: PointSet, pairs: Pairs) -> dict[str, str]:
    """What there is to say of the pairs of one sample, in words."""
    from densecl.pairs import purity

    stats = pairs.stats(src, dst)
    per_row = len(pairs) / max(int((pairs.per_row() > 0).sum()), 1)
    found = {
        "voxels": f"{len(src)} and {len(dst)}",
        "pairs": f"{len(pairs)}",
        "voxels with a partner": f"{stats['coverage']:.0%}",
        "partners of each": f"{per_row:.2f}",
    }
    if "mean_distance" in stats:
        found["mean distance"] = f"{stats['mean_distance']:.3f} {src.frame[1]} ({src.frame[0]})"
    if src.label is not None and dst.label is not None:
        pure = purity(pairs, src, dst)
        found["same label"] = f"{pure.share:.1%} of {pure.count}, by chance {pure.chance:.1%}"
    if "instance" in src.regions and "instance" in dst.regions:
        found["two objects"] = f"{_mixed(src, dst, pairs)} pairs"
    return found


def _mixed(src: PointSet, dst: PointSet, pairs: Pairs) -> int:
    """Pairs whose ends are known to lie on two objects."""
    a, b = src.regions["instance"], dst.regions["instance"]
    first, second = a[pairs.src], b[pairs.dst]  # type: ignore[index]
    return int(((first >= 0) & (second >= 0) & (first != second)).sum())
