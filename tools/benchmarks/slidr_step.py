"""Where the time of a SLidR step goes, part by part, and our own parts beside their naive forms.

    OMP_NUM_THREADS=1 python tools/benchmarks/slidr_step.py [--tiers smoke small paper]

Prints two Markdown tables of medians in milliseconds of processor time of one batch. The tiers are
the shipped configs on scans of the embedded streets, teachers of random weights: no part's time
depends on what weights have learnt. ``paper`` is a Res16UNet34C beside a ResNet-50 of stride 4 on
pictures of 224 x 416, with a scan of 32 beams and its four cameras instead of four scans with six.
Gradients of a part are those that the step forms: of the weights and of what the weights act on.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import timing
import torch
import torch.nn.functional as F
from torch import Tensor

import pointcl.data
import pointcl.methods  # noqa: F401  registers the methods
from densecl.engine.config import load_config
from densecl.losses import region_info_nce
from densecl.pairs import pool_regions
from pointcl.data.scan import Scan
from pointcl.engine.domain import POINTS
from pointcl.methods.slidr import SLidR, numbered
from pointcl.pairs.projection import read_regions
from pointcl.registry import DATASETS, METHODS
from pointcl.sensors.camera import Camera
from pointcl.sensors.projection import project, scan_to_camera
from pointcl.sparse import SparseTensor, VoxelGrid, voxelise
from pointcl.views.batch import PointBatch
from pointcl.views.camera_views import CameraViews, EnoughLinks

CAMERAS = ("front", "left", "right", "back")
PAPER = {
    "method.teacher": "random",
    "data": {
        "_delete_": True,
        "type": "LidarStreets",
        "beams": 32,
        "steps": 1080,
        "clip": 1,
        "cameras": CAMERAS,
        "camera_size": (450, 800),
    },
    "loader.batch_size": 1,
}
TIERS: dict[str, tuple[str, dict[str, Any]]] = {
    "smoke": ("slidr_unet14w8_1xb2-120s_streets-50cm", {}),
    "small": ("slidr_unet14w16_1xb4-600s_streets-30cm", {"method.teacher": "random"}),
    "paper": ("slidr_unet34c_1xb4-50e_nuscenes-10cm", PAPER),
}
TINY = {
    "method.backbone.width": 4,
    "voxels.size": 1.0,
    "data.steps": 60,
    "data.beams": 8,
    "data.cameras": ("front",),
    "data.camera_size": (40, 56),
    "views.pictures.size": (24, 32),
    "views.pictures.superpixels.segments": 6,
    "views.pictures.min_links": 4,
    "method.teacher_backbone.width": 8,
}


@dataclass
class Work:
    """All that a tier's parts are made of."""

    views: CameraViews
    scans: list[Scan]
    read: Callable[[int], Scan]
    raw: PointBatch
    batch: PointBatch
    method: SLidR
    model: Any
    cells: Tensor


def work_of(tier: str, folder: Path, quick: bool) -> Work:
    """Data, views and method of a shipped config; scans, pictures and superpixels are stored."""
    name, changes = TIERS[tier]
    changes = changes | (TINY if quick else {})
    config = load_config(
        name, {**changes, "views.pictures.store": str(folder / tier)}, domain=POINTS
    )
    size = config["loader"]["batch_size"]
    data = DATASETS.build({**config["data"], "length": size, "cache": str(folder)})
    torch.manual_seed(0)
    method = METHODS.build(dict(config["method"]))
    model, views = POINTS.build_model(method, config), POINTS.build_views(config)
    scans = [data[index] for index in range(size)]
    raw = views.collate([views(scan, 0) for scan in scans])
    batch = model.prepare(raw)
    cells = method.teacher(batch.pictures.views.image)
    return Work(views, scans, lambda index: data[index], raw, batch, method, model, cells)


def loader_parts(work: Work) -> dict[str, timing.Form]:
    """What a worker does with the scans of a batch."""
    views, scans = work.views, work.scans
    numbers = views.pictures.chosen(scans[0])
    cameras = [[scan.cameras[number] for number in numbers] for scan in scans]
    seen = [(camera, camera.image()) for row in cameras for camera in row]
    links = [views.pictures.links(scan, row) for scan, row in zip(scans, cameras, strict=True)]
    frames = [[views.pictures.frame(camera) for camera in row] for row in cameras]
    clouds = [view(views, scan, own) for scan, own in zip(scans, links, strict=True)]
    items = [views(scan, 0) for scan in scans]
    superpixels = views.pictures.superpixels
    assert superpixels is not None

    def read() -> None:
        for index in range(len(scans)):
            work.read(index)
        for camera, _ in seen:
            camera.image()

    def cut() -> None:
        for scan, row, own, cloud in zip(scans, frames, links, clouds, strict=True):
            kept = own.keep_points(cloud.index)
            views.pictures.cut(row, kept, epoch=0, source=scan.source, cameras=numbers)

    return {
        "scans and pictures from the cache": read,
        "projection: links": lambda: [
            views.pictures.links(scan, row) for scan, row in zip(scans, cameras, strict=True)
        ],
        "view of the cloud": lambda: [
            view(views, scan, own) for scan, own in zip(scans, links, strict=True)
        ],
        "superpixels from the store": lambda: [superpixels(*each) for each in seen],
        "pictures: crop and mirror": cut,
        "voxels, collation": lambda: views.collate(items),
        "**loader, whole**": lambda: views.collate(
            [views(work.read(index), 0) for index in range(len(scans))]
        ),
    }


def view(views: CameraViews, scan: Scan, links: Any) -> Any:
    """The view of a scan's cloud, as ``CameraViews`` cuts it."""
    clouds = views.views
    clouds.accept = EnoughLinks(links, views.pictures.min_links)  # type: ignore[attr-defined]
    return views.voxeliser.thin(clouds(scan, 0), [scan.source], 0)[0]


def fresh(tensor: SparseTensor) -> SparseTensor:
    """The same voxels without their kernel maps, as each batch comes."""
    return SparseTensor(tensor.features, tensor.sites)


def step_parts(work: Work) -> dict[str, timing.Form]:
    """What the trainer does with the batch."""
    method, batch = work.method, work.batch
    assert batch.pictures is not None
    backbone = method.online["backbone"]
    voxels, pictures, links = batch.views[0].voxels, batch.pictures.views, batch.pictures.links
    superpixels, count = numbered(pictures.maps["region"])
    region = read_regions(links, superpixels)
    cells = work.cells
    features = backbone(voxels.tensor).maps[1].features
    ahead = torch.randn_like(features)
    rows = features.detach().requires_grad_()
    weights = [p for p in method.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(weights, 1e-4, momentum=0.9, dampening=0.1, weight_decay=1e-4)

    def pooled_points() -> Tensor:
        found = F.normalize(method.online["head"](rows), dim=1)
        points = found.index_select(0, voxels.point_to_voxel[links.point])
        return pool_regions(points, region, num_regions=count).feature

    def pooled_pixels() -> Tensor:
        return method.pool_pixels(cells, pictures.maps["region"], count).feature

    with torch.no_grad():
        query, key = pooled_points(), pooled_pixels()
    there = query.abs().sum(1) > 0
    own, theirs = (each[there].clone().requires_grad_() for each in (query, key))

    def loss() -> None:
        total, _ = method.contrast(own, theirs)
        total.backward()

    def backward() -> None:
        out = backbone(voxels.tensor).maps[1].features
        torch.autograd.grad(out, list(backbone.parameters()), ahead, allow_unused=True)

    def step() -> None:
        ready = work.model.prepare(work.raw)
        slot = ready.views[0].voxels
        object.__setattr__(slot, "tensor", fresh(slot.tensor))
        optimiser.zero_grad(set_to_none=True)
        sum(method(ready).losses.values()).backward()
        optimiser.step()

    for weight in weights:
        weight.grad = torch.zeros_like(weight)
    return {
        "pictures: normalised": lambda: work.model.prepare(work.raw),
        "teacher, forward": lambda: method.teacher(pictures.image),
        "with kernel maps": lambda: backbone(fresh(voxels.tensor)),
        "backbone, forward": lambda: backbone(voxels.tensor),
        "forward and backward": backward,
        "points: head, pooling, both ways": lambda: pooled_points().sum().backward(),
        "pixels: head, pooling, both ways": lambda: pooled_pixels().sum().backward(),
        "loss, both ways, and telemetry": loss,
        "optimiser": optimiser.step,
        "**step, whole**": step,
    }


def spent_on(work: Work, rounds: int) -> dict[str, float]:
    """CPU milliseconds of every part; kernel maps and the backward pass by subtraction."""
    forms = {**loader_parts(work), **step_parts(work)}
    times = timing.alternate(forms, rounds, warm=rounds > 1)
    cpu = {name: each.cpu for name, each in times.items()}
    forward = cpu["backbone, forward"]
    ordered = {}
    for name, value in cpu.items():
        if name == "with kernel maps":
            ordered["backbone, kernel maps"] = max(value - forward, 0.0)
        elif name == "forward and backward":
            ordered["backbone, backward"] = max(value - forward, 0.0)
        else:
            ordered[name] = value
    return ordered


def pool_one_hot(rows: Tensor, ids: Tensor, count: int) -> Tensor:
    """A sparse matrix of ones, regions by rows, as the reference code of SLidR multiplies it."""
    known = (ids >= 0).nonzero().squeeze(1)
    index = torch.stack([ids[known], known])
    ones, shape = torch.ones(len(known)), (count, len(rows))
    hot = torch.sparse_coo_tensor(index, ones, shape, check_invariants=False)
    return torch.sparse.mm(hot, rows) / (torch.sparse.sum(hot, 1).to_dense()[:, None] + 1e-6)


def pool_every_pixel(maps: Tensor, ids: Tensor, count: int) -> Tensor:
    """Enlarge, normalise, multiply by the sparse matrix of ones."""
    enlarged = F.interpolate(maps, ids.shape[1:], mode="bilinear", align_corners=True)
    pixels = F.normalize(enlarged, dim=1).permute(0, 2, 3, 1).flatten(0, 2)
    return pool_one_hot(pixels, ids.flatten(), count)


def project_by_loop(scan: Scan, camera: Camera, near: float, border: float) -> np.ndarray:
    """(N,) which points show, one after the other."""
    chain, kept = scan_to_camera(scan, camera), []
    height, width = camera.size
    for point in scan.points.astype(np.float64):
        x, y, z = chain[:3, :3] @ point + chain[:3, 3]
        if not z > near:
            kept.append(False)
            continue
        u, v, _ = camera.intrinsics @ (x / z, y / z, 1.0)
        kept.append(border <= u < width - border and border <= v < height - border)
    return np.array(kept, bool)


def voxelise_by_dict(points: Tensor, grid: VoxelGrid) -> Tensor:
    """(N,) row of each point's voxel, voxels sorted."""
    places = [tuple(row) for row in grid.positions(points).floor().long().tolist()]
    number = {place: row for row, place in enumerate(sorted(set(places)))}
    return torch.tensor([number[place] for place in places])


def read_by_loop(ids: Tensor, image: Tensor, pixel: Tensor) -> Tensor:
    """Superpixel of each link, one after the other."""
    found = [
        int(ids[int(i), int(y), int(x)])
        for i, (x, y) in zip(image, pixel.tolist(), strict=True)
    ]  # fmt: skip
    return torch.tensor(found, dtype=torch.int64)


def our_loss(query: Tensor, key: Tensor) -> Tensor:
    """``region_info_nce``, the mean."""
    loss = region_info_nce(query, key, temperature=0.07)
    assert isinstance(loss, Tensor)
    return loss


def literal_loss(query: Tensor, key: Tensor) -> Tensor:
    """The whole matrix of scores."""
    return F.cross_entropy(query @ key.T / 0.07, torch.arange(len(query)))


def both_ways(form: Callable[..., Tensor], rows: list[Tensor], ahead: Tensor) -> list[Tensor]:
    """Result and gradients of the rows."""
    out = form(*rows)
    return [out.detach(), *torch.autograd.grad(out, rows, ahead.expand_as(out))]


Pair = tuple[Callable[[], Any], Callable[[], Any]]


def own_parts(work: Work) -> Mapping[str, Pair]:
    """Ours and the naive form of each; both return what is compared."""
    method, batch = work.method, work.batch
    assert batch.pictures is not None
    links, pictures = batch.pictures.links, batch.pictures.views
    local = pictures.maps["region"]
    ids, count = numbered(local)
    region = read_regions(links, ids)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        maps = method.online["picture_head"](work.cells)
    maps.requires_grad_()
    dim = maps.shape[1]
    points = F.normalize(torch.randn(len(links), dim, generator=draw)).requires_grad_()
    ahead = torch.randn(count, dim, generator=draw)
    head = torch.nn.Identity()

    def pixels(rows: Tensor) -> Tensor:
        online, method.online["picture_head"] = method.online["picture_head"], head
        try:
            return method.pool_pixels(rows, local, count).feature
        finally:
            method.online["picture_head"] = online

    scan, grid = work.scans[0], work.views.voxeliser.grid
    camera = work.views.pictures
    shown = scan.cameras[0]
    cloud = torch.from_numpy(scan.points)
    cloud = cloud[grid.inside(cloud)]
    query, key = (
        (0.5 * F.normalize(torch.randn(min(count, 1500), dim, generator=draw)))
        .requires_grad_()
        for _ in "qk"
    )  # fmt: skip
    one = torch.ones(())
    return {
        "points to superpixels": (
            partial(both_ways, lambda r: pool_regions(r, region, num_regions=count).feature,
                    [points], ahead),
            partial(both_ways, lambda r: pool_one_hot(r, region, count), [points], ahead),
        ),
        "pixels to superpixels": (
            partial(both_ways, pixels, [maps], ahead),
            partial(both_ways, lambda m: pool_every_pixel(m, ids, count), [maps], ahead),
        ),
        "superpixels under links": (
            lambda: read_regions(links, ids),
            lambda: read_by_loop(ids, links.image, links.pixel),
        ),
        "projection into a camera": (
            lambda: torch.from_numpy(
                project(scan, shown, near=camera.near, border=camera.border).kept
            ),
            lambda: torch.from_numpy(project_by_loop(scan, shown, camera.near, camera.border)),
        ),
        "voxels of a cloud": (
            lambda: voxelise([cloud], grid).point_to_voxel,
            lambda: voxelise_by_dict(cloud, grid),
        ),
        "loss": (
            partial(both_ways, our_loss, [query, key], one),
            partial(both_ways, literal_loss, [query, key], one),
        ),
    }  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Print both tables."""
    parser = timing.parser(__doc__)
    parser.add_argument("--tiers", nargs="+", choices=list(TIERS), default=list(TIERS))
    options = parser.parse_args(arguments)
    timing.prepare(options)
    tiers = ["smoke"] if options.quick else options.tiers
    columns, rows = {}, []
    with tempfile.TemporaryDirectory() as folder:
        for tier in tiers:
            work = work_of(tier, Path(folder), options.quick)
            size = f"{len(work.scans)} scans, {len(work.batch.views[0].voxels.tensor):,} voxels"
            columns[f"{tier}: {size}"] = spent_on(work, options.rounds)
            for name, (ours, naive) in own_parts(work).items():
                apart = timing.equal(name, _real(ours()), _real(naive()), limit=1e-4)
                spent = timing.alternate({"ours": ours, "naive": naive}, options.rounds)
                factor = spent["naive"].cpu / max(spent["ours"].cpu, 1e-6)
                rows.append([tier, name, spent["ours"].cpu, spent["naive"].cpu, factor, apart])
    first = next(iter(columns.values()))
    lines = [[name, *(column[name] for column in columns.values())] for name in first]
    timing.table("A batch of SLidR, CPU ms", ["part", *columns], lines)
    head = ["tier", "part", "ours", "naive form", "naive / ours", "difference"]
    timing.table("Our own parts beside their naive forms, CPU ms", head, rows)


def _real(result: Any) -> Any:
    return result.double() if isinstance(result, Tensor) else [each.double() for each in result]


if __name__ == "__main__":
    main()
