"""`densecl pairs`: draw, count and save the positive pairs of any builder on a picture."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from densecl.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from densecl.data.sample import Sample
    from densecl.pairs import Pairs, PointSet
    from densecl.views.view import ViewBatch

BUILDERS = ("distance", "similarity", "region", "label", "index", "flow")
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Picture, builder, views."""
    parser.add_argument(
        "image", help="a picture, or streets:SPLIT[:INDEX] for one of the embedded world"
    )
    parser.add_argument("--builder", choices=BUILDERS, default="distance")
    parser.add_argument("--out", type=Path, help="default: work_dirs/pairs/<image>_<builder>.png")
    parser.add_argument("--save", type=Path, help="write the pairs themselves, for match_from_file")
    parser.add_argument("--size", type=int, default=224, help="side of the views in pixels")
    parser.add_argument("--map", type=int, default=7, help="cells along a side of the feature map")
    parser.add_argument("--recipe", choices=("mocov2", "byol"), default="mocov2")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--radius", type=float, default=0.7, help="distance: in cell diagonals")
    parser.add_argument("--mutual", action="store_true", help="similarity: both ways only")
    parser.add_argument("--checkpoint", type=Path, help="similarity: whose features to match on")
    parser.add_argument("--labels", type=Path, help="label map of the picture, a PNG of class ids")
    parser.add_argument("--regions", type=Path, help="region map of the picture, a PNG of ids")


def run(args: argparse.Namespace) -> int:
    """Build two views, pair them, say how many and how good, write the drawing."""
    from densecl.data.views import collate_views
    from densecl.pairs import purity
    from densecl.views import ViewGenerator
    from densecl.viz.tile import write_png

    sample, stem = read_sample(args)
    generator = ViewGenerator(
        args.recipe, size=args.size, num_views=2, seed=args.seed, min_overlap=0.3
    )
    views = collate_views([generator(sample, epoch=0)])
    src, dst = (points(args, view) for view in views)
    pairs = match(args, src, dst, views[0])

    for name, value in pairs.stats(src, dst).items():
        print(f"  {name:<24}{value:.4g}")
    if src.label is not None and dst.label is not None:
        found = purity(pairs, src, dst)
        print(f"  {'purity':<24}{found.share:.3f} of {found.count}, chance {found.chance:.3f}")
    out = args.out or Path("work_dirs") / "pairs" / f"{stem}_{args.builder}.png"
    write_png(out, pairs.draw(views[0].image[0], views[1].image[0], src, dst))
    if args.save is not None:
        pairs.save(args.save)
        print(f"pairs saved to {args.save}; read them with densecl.pairs.Pairs.load")
    print(f"drawing written to {out}")
    return 0


def read_sample(args: argparse.Namespace) -> tuple[Sample, str]:
    """The sample that the command line names, and a stem for file names."""
    if args.image.startswith("streets:"):
        return streets_sample(args)
    from densecl.data.decode import read_ids, read_rgb
    from densecl.data.sample import Frame, Sample

    if args.builder == "flow":
        raise UsageError(
            "--builder flow needs two frames and the motion between them",
            fix="use a clip of the embedded world: densecl pairs streets:val --builder flow",
        )
    maps = {}
    for name, path in (("label", args.labels), ("region", args.regions)):
        if path is not None:
            maps[name] = read_ids(path)
        elif args.builder == name:
            raise UsageError(
                f"--builder {name} without --{name}s", needed=f"a PNG of {name} ids of the picture"
            )
    frame = Frame(read_rgb(args.image), maps)
    return Sample((frame,), source=0, name=args.image), Path(args.image).stem


def streets_sample(args: argparse.Namespace) -> tuple[Sample, str]:
    """A still, or for flow a clip of two frames, of the embedded world."""
    from densecl.data.streets import Streets

    _, split, *rest = args.image.split(":")
    try:
        index = int(rest[0]) if rest else 0
    except ValueError:
        raise UsageError(f"{args.image!r}", needed="streets:SPLIT or streets:SPLIT:INDEX") from None
    clip_length = 2 if args.builder == "flow" else 1
    world = Streets(split=split, length=index + 1, clip_length=clip_length, cache=False)
    sample = world[index]
    for frame in sample.frames:
        frame.maps["region"] = frame.maps["instance"]
    return sample, f"streets-{split}-{index}"


def points(args: argparse.Namespace, view: ViewBatch) -> PointSet:
    """The rows of a view's feature map, with what the builder needs."""
    import torch

    from densecl.pairs import PointSet

    if args.builder == "similarity":
        fields = {"match": features(args, view.image)}
    else:
        fields = {"match": torch.zeros(1, 1, args.map, args.map)}
    rows = PointSet.from_view(fields, view)
    assert rows.coord is not None
    column, row = rows.coord.floor().long().unbind(1)
    rows.index = row * int(view.source_size[0, 1]) + column
    return rows


def features(args: argparse.Namespace, image: Tensor) -> Tensor:
    """Backbone features (1, C, map, map) of a checkpoint, or of random weights, which is said."""
    import torch

    from densecl.models import build_backbone
    from densecl.weights import load_backbone

    mean, std = MEAN, STD
    if args.checkpoint is not None:
        backbone = load_backbone(args.checkpoint)
        mean, std = backbone.mean or MEAN, backbone.std or STD  # type: ignore[assignment]
    else:
        print("no --checkpoint: matching on a ResNet-18 with random weights")
        torch.manual_seed(args.seed)
        backbone = build_backbone({"type": "ResNet", "depth": 18}).eval()
    centre, spread = (torch.tensor(v).view(1, 3, 1, 1) for v in (mean, std))
    with torch.no_grad():
        cells = backbone((image.float() - centre) / spread).last()
    return torch.nn.functional.adaptive_avg_pool2d(cells, args.map)


def match(args: argparse.Namespace, src: PointSet, dst: PointSet, view: ViewBatch) -> Pairs:
    """Call the builder that the command line names."""
    import torch

    from densecl import pairs

    draw = torch.Generator().manual_seed(args.seed)
    if args.builder == "distance":
        return pairs.match_by_distance(src, dst, radius=args.radius)
    if args.builder == "similarity":
        return pairs.match_by_similarity(src, dst, field="match", mutual=args.mutual)
    if args.builder == "region":
        return pairs.match_by_region(src, dst, max_per_row=1, generator=draw)
    if args.builder == "label":
        return pairs.match_by_label(src, dst, max_per_row=1, generator=draw)
    if args.builder == "index":
        return pairs.match_by_index(src, dst)
    assert view.flow is not None
    return pairs.match_by_flow(src, dst, view.flow)
