from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).parents[1]))

from camera_worlds import PaintedRooms, batch_of, build

from densecl.errors import UsageError
from densecl.losses import region_info_nce
from densecl.pairs import pool_regions
from pointcl.methods import PPKT, SLidR
from pointcl.methods.slidr import commonest, numbered
from pointcl.sparse import VoxelGrid
from pointcl.views import Links


def info_nce_by_loop(query, key, temperature=0.07):
    total = 0.0
    for i, row in enumerate(query):
        scores = [float(row @ other) / temperature for other in key]
        total += math.log(sum(map(math.exp, scores))) - scores[i]
    return total / max(len(query), 1)


def pool_by_loop(rows, places):
    """Means over rows of equal place, as a dict."""
    found = {}
    for row, place in zip(rows, places, strict=True):
        found.setdefault(place, []).append(row)
    return {place: np.mean(values, 0) for place, values in found.items()}


def superpixels_by_loop(method, batch):
    """Pooled vectors of points and of pixels, (picture, id) -> vector."""
    pictures, links = batch.pictures.views, batch.pictures.links
    with torch.no_grad():
        voxels = method.online["head"](method.encode(batch.views[0]).maps[1].features)
        cells = method.teacher(pictures.image)
        maps = method.online["picture_head"](cells)
        maps = F.interpolate(maps, pictures.size, mode="bilinear", align_corners=True)
    voxels, maps = F.normalize(voxels, dim=1).numpy(), F.normalize(maps, dim=1).numpy()
    region = pictures.maps["region"].numpy()
    rows, places = [], []
    for point, image, (x, y) in zip(links.point, links.image, links.pixel.tolist(), strict=True):
        rows.append(voxels[int(batch.views[0].voxels.point_to_voxel[point])])
        places.append((int(image), int(region[int(image), int(y), int(x)])))
    where = np.indices(region.shape).reshape(3, -1).T
    pixels = [maps[i, :, r, c] for i, r, c in where]
    keys = [(int(i), int(region[i, r, c])) for i, r, c in where]
    return pool_by_loop(rows, places), pool_by_loop(pixels, keys)


@pytest.mark.parametrize("symmetric", [False, True])
def test_it_is_the_loop_over_points_and_pixels(symmetric):
    batch = batch_of([0, 1], double=True)
    method = build(SLidR, symmetric=symmetric).double().eval()
    points, pixels = superpixels_by_loop(method, batch)
    query, key = list(points.values()), [pixels[place] for place in points]
    expected = info_nce_by_loop(query, key)
    if symmetric:
        expected = (expected + info_nce_by_loop(key, query)) / 2
    with torch.no_grad():
        output = method(batch)
    assert len(query) > 20
    assert output.losses["superpixels"].item() == pytest.approx(expected, rel=1e-10)
    assert len(output.pairs) == len(query)
    assert float(output.telemetry["superpixels_seen"]) == pytest.approx(len(query) / len(pixels))
    assert output.telemetry["links_per_scan"] == len(batch.pictures.links) / 2


def test_tolerance_is_the_loop_with_a_weight_for_each_pair():
    batch = batch_of([0, 1], double=True)
    method = build(SLidR, tolerant=True, temperature=0.3).double().eval()
    points, pixels = superpixels_by_loop(method, batch)
    with torch.no_grad():
        cells = method.teacher(batch.pictures.views.image)
        loss = method(batch).losses["superpixels"].item()
    region, (h, w) = batch.pictures.views.maps["region"], cells.shape[2:]
    size = batch.pictures.views.size
    rows, places = [], []
    for i, r, c in np.ndindex(len(cells), h, w):
        rows.append(cells[i, :, r, c].numpy())
        at = ((2 * r + 1) * size[0] // (2 * h), (2 * c + 1) * size[1] // (2 * w))
        places.append((i, int(region[i, at[0], at[1]])))
    seen, total = pool_by_loop(rows, places), 0.0
    blank = np.zeros(cells.shape[1])
    for a in points:
        score = {b: points[a] @ pixels[b] / 0.3 for b in points}
        for b in points:
            u, v = seen.get(a, blank), seen.get(b, blank)
            length = np.linalg.norm(u) * np.linalg.norm(v)
            if a != b and length > 0:
                score[b] *= 1 - max(u @ v / length, 0.0)
        total += math.log(sum(math.exp(s) for s in score.values())) - score[a]
    assert loss == pytest.approx(total / len(points), rel=1e-9)


@pytest.fixture
def published(monkeypatch):
    """The card's example: three points of unit length, superpixels 0, 0 and 2 of one picture."""
    batch = batch_of([0], dataset=PaintedRooms(length=1, cameras=1))
    view = batch.pictures.views
    region = torch.tensor([[[0, 0, 1, 2, 2]]])
    links = Links(
        torch.arange(3),
        torch.zeros(3, dtype=torch.int64),
        torch.tensor([[0.5, 0.5], [1.5, 0.5], [3.5, 0.5]]),
        torch.zeros(1, dtype=torch.int64),
        batch.pictures.links.counts,
    )
    view = replace(view, image=view.image[..., :1, :5], maps={"region": region})
    batch = replace(batch, pictures=replace(batch.pictures, views=view, links=links))
    method = build(SLidR)
    points = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    # the second superpixel's pixels have a mean of (0.8, 0.6), and one of them no point
    pixels = torch.tensor([[1.0, 0], [1, 0], [0, 1], [1, 0], [0.6, 1.2]]).view(1, 1, 5, 2)
    monkeypatch.setattr(method, "embed_points", lambda batch, links: points)
    pooled = pool_regions(pixels.flatten(0, 2), region.flatten(), num_regions=3)
    monkeypatch.setattr(method, "pool_pixels", lambda cells, region, count: pooled)
    method.teacher = torch.nn.Identity()
    return method, batch, points, pixels


def test_the_published_example_of_pooling(published):
    method, batch, _, _ = published
    output = method(batch)
    assert output.rows.tolist() == [[0.5, 0.5], pytest.approx([0.6, 0.8])]  # superpixel 1 is out
    assert output.losses["superpixels"].item() == pytest.approx(1.459405, abs=1e-5)


def test_pooled_vectors_are_not_made_unit_vectors_again_and_pixels_without_points_count(published):
    method, batch, points, _ = published
    right = method(batch).losses["superpixels"].item()
    k = torch.stack([points[:2].mean(0), points[2]])
    unit = region_info_nce(F.normalize(k, dim=1), torch.tensor([[1.0, 0], [0.8, 0.6]])).item()
    assert abs(unit - right) > 0.01
    hit = region_info_nce(k, torch.tensor([[1.0, 0], [1.0, 0]])).item()
    assert abs(hit - right) > 0.01


def bleeding(maps):
    """The published numbering: id + 150 * picture, whatever the ids are."""
    return maps + 150 * torch.arange(len(maps)).view(-1, 1, 1)


def test_ids_beyond_150_stay_in_their_picture():
    """SLIC may return more than it is asked for; nothing is clipped and nothing runs over."""
    maps = torch.stack([torch.arange(170).view(10, 17), torch.arange(170).view(10, 17) % 30])
    ids, count = numbered(maps)
    assert len(ids.unique()) == 200
    assert int(ids.max()) < count
    assert not set(ids[0].flatten().tolist()) & set(ids[1].flatten().tolist())
    wrong = bleeding(maps)
    assert len(wrong.unique()) < 200
    rows = torch.nn.functional.normalize(torch.randn(340, 4), dim=1)
    right = pool_regions(rows, ids.flatten(), num_regions=count)
    assert int((right.mass > 0).sum()) == 200
    shared = pool_regions(rows, wrong.flatten(), num_regions=int(wrong.max()) + 1)
    assert int((shared.mass > 0).sum()) < 200


def test_more_than_150_superpixels_give_the_loss_of_the_loop():
    batch = batch_of([0, 1], superpixels={"type": "Slic", "segments": 400, "sigma": 0.0})
    assert int(batch.pictures.views.maps["region"].max()) > 160
    method = build(SLidR).eval()
    points, pixels = superpixels_by_loop(method, batch)
    expected = info_nce_by_loop(list(points.values()), [pixels[place] for place in points])
    with torch.no_grad():
        loss = method(batch).losses["superpixels"].item()
    assert loss == pytest.approx(expected, rel=1e-4)


def test_links_that_count_other_rows_change_the_loss():
    """The fault of links that are not renumbered: rows of points read as rows of voxels."""
    batch = batch_of([0, 1])
    method = build(SLidR).eval()
    with torch.no_grad():
        right = method(batch).losses["superpixels"].item()
        voxels = batch.views[0].voxels
        rows = torch.arange(len(voxels.point_to_voxel)) % len(voxels.tensor.features)
        wrong = replace(voxels, point_to_voxel=rows)
        batch.views[0].voxels = wrong
        assert abs(method(batch).losses["superpixels"].item() - right) > 1e-3


def test_only_the_backbone_and_the_heads_learn():
    for cls in (SLidR, PPKT):
        method = build(cls, tolerant=True) if cls is SLidR else build(cls)
        teacher = {k: v.clone() for k, v in method.teacher.network.state_dict().items()}
        before = {k: v.clone() for k, v in method.named_parameters()}
        optimizer = torch.optim.SGD(method.parameters(), 0.1)
        for epoch in range(2):
            optimizer.zero_grad()
            sum(method.train()(batch_of([0, 1], epoch=epoch)).losses.values()).backward()
            optimizer.step()
        for name, value in method.teacher.network.state_dict().items():
            assert torch.equal(value, teacher[name]), name
        still = [k for k, v in method.named_parameters() if torch.equal(v, before[k])]
        assert still == []
        assert {name.split(".")[1] for name in before} == {"backbone", "head", "picture_head"}
        assert method.backbone_for_export() is method.online["backbone"]


def test_another_teacher_changes_the_loss_and_nothing_else():
    batch = batch_of([0, 1])
    one, other = (build(SLidR).eval() for _ in range(2))
    with torch.no_grad():
        assert torch.equal(one(batch).rows, other(batch).rows)
        assert one(batch).losses["superpixels"] == other(batch).losses["superpixels"]
        for value in other.teacher.network.parameters():
            value.copy_(torch.randn_like(value) * 0.05)
        assert torch.equal(one(batch).rows, other(batch).rows)
        assert one(batch).losses["superpixels"] != other(batch).losses["superpixels"]


def without_links(batch):
    links = batch.pictures.links
    none = links.filter(torch.zeros(len(links), dtype=torch.bool))
    return replace(batch, pictures=replace(batch.pictures, links=none))


@pytest.mark.parametrize("cls", [SLidR, PPKT])
def test_without_links_the_loss_is_a_zero_that_takes_part(cls):
    method = build(cls)
    output = method(without_links(batch_of([0, 1])))
    loss = sum(output.losses.values())
    loss.backward()
    assert loss.item() == 0
    assert float(output.telemetry["empty_fraction"]) == 1.0
    assert len(output.pairs) == 0
    for name, value in method.named_parameters():
        assert value.grad is not None, name
        assert not value.grad.any(), name


def test_a_superpixel_alone_has_no_loss_and_a_finite_gradient():
    batch = batch_of([0])
    view = batch.pictures.views
    maps = {"region": torch.zeros_like(view.maps["region"])}
    links = batch.pictures.links.filter(batch.pictures.links.image == 0)
    batch = replace(batch, pictures=replace(
        batch.pictures, views=replace(view, maps=maps), links=links
    ))  # fmt: skip
    method = build(SLidR)
    output = method(batch)
    output.losses["superpixels"].backward()
    assert len(output.pairs) == 1
    assert output.losses["superpixels"].item() == 0
    assert all(p.grad is None or p.grad.isfinite().all() for p in method.parameters())


def test_shuffled_pairs_meet_strangers():
    batch = batch_of([0, 1], double=True)
    method = build(SLidR, shuffle_pairs=True).double().eval()
    points, pixels = superpixels_by_loop(method, batch)
    order = torch.randperm(len(points), generator=torch.Generator().manual_seed(4))
    torch.manual_seed(4)
    with torch.no_grad():
        loss = method(batch).losses["superpixels"].item()
    places = sorted(points)
    strangers = [pixels[places[i]] for i in order.tolist()]
    expected = info_nce_by_loop([points[place] for place in places], strangers)
    assert loss == pytest.approx(expected, rel=1e-10)


VOXELNET = {"type": "VoxelResNet", "grid_size": [32, 32, 28], "in_channels": 4, "width": 4}
DETECTOR = VoxelGrid((0.25, 0.25, 0.2), low=(-4, -4, -2), high=(4, 4, 3.6), origin=(-4, -4, -2))


@pytest.mark.parametrize("cls", [SLidR, PPKT])
def test_a_detectors_encoder_learns_through_its_birds_eye_map(cls):
    batch = batch_of([0, 1], grid=DETECTOR, features=("xyz", "intensity"))
    method = build(cls, backbone=VOXELNET, read="bev")
    loss = sum(method(batch).losses.values())
    loss.backward()
    assert loss.item() > 0.5
    gradients = {n: p.grad.abs().max() for n, p in method.named_parameters() if p.grad is not None}
    assert len(gradients) == len(list(method.parameters()))
    assert sum(bool(g > 0) for g in gradients.values()) > 0.8 * len(gradients)


def test_features_are_read_at_the_points_themselves():
    batch = batch_of([0, 1], grid=DETECTOR, features=("xyz", "intensity"))
    method = build(SLidR, backbone=VOXELNET, read="bev").eval()
    links = batch.pictures.links
    with torch.no_grad():
        rows = method.embed_points(batch, links)
        bev = method.encode(batch.views[0]).bev
        i = len(links) // 2
        x, y, _ = batch.views[0].cloud.points[links.point[i]].tolist()
        features = method.encode(batch.views[0])
        column, row = (
            (at + 4) / 0.25 - a for at, a in zip((x, y), features.bev_anchor, strict=True)
        )
        column, row = column / features.bev_stride, row / features.bev_stride
        scan = int(links.scan[links.image[i]])
        value = 0
        for r in (math.floor(row), math.floor(row) + 1):
            for c in (math.floor(column), math.floor(column) + 1):
                if 0 <= r < bev.shape[2] and 0 <= c < bev.shape[3]:
                    value = value + (1 - abs(row - r)) * (1 - abs(column - c)) * bev[scan, :, r, c]
        expected = F.normalize(method.online["head"](value), dim=0)
    torch.testing.assert_close(rows[i], expected, rtol=1e-4, atol=1e-5)
    points = build(SLidR, read="points").eval()
    assert points.online["head"].in_features == sum(points.channels.values())
    assert points(batch_of([0])).losses["superpixels"].item() > 0


def test_voxels_are_counted_with_the_superpixels_that_they_lie_in():
    batch = batch_of([0, 1])
    points, whole, pairs = build(SLidR).positives(batch)
    links, voxels = batch.pictures.links, batch.views[0].voxels
    region = batch.pictures.views.maps["region"]
    expected = set()
    for point, image, (x, y) in zip(links.point, links.image, links.pixel.tolist(), strict=True):
        expected.add(
            (int(voxels.point_to_voxel[point]), int(image), int(region[image, int(y), int(x)]))
        )
    step = int(region.max()) + 1
    ids = whole.regions["superpixel"][pairs.dst]
    found = set(zip(pairs.src.tolist(), (ids // step).tolist(), (ids % step).tolist(), strict=True))
    assert found == expected
    assert len(pairs) == len(expected)
    assert torch.equal(points.sample[pairs.src], whole.sample[pairs.dst])
    assert set(whole.label.tolist()) <= {0, 1, 2, 3, 255}


def test_the_commonest_label_is_that_of_most_points_and_unknown_without_any():
    label = torch.tensor([3, 3, 1, 255, 255, -1, 2])
    region = torch.tensor([0, 0, 0, 0, 1, 1, 3])
    assert commonest(label, region, 4).tolist() == [3, 255, 255, 2]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"temperature": 0.0}, "temperature"),
        ({"read": "pixels"}, "read"),
        ({"dim": 0}, "dim"),
        ({"read": "bev"}, "bird's-eye"),
        ({"backbone": VOXELNET, "read": "voxels", "teacher": "nowhere.pth"}, "nowhere"),
    ],
)
def test_wrong_arguments_are_named(options, named):
    with pytest.raises(UsageError, match=named):
        build(SLidR, **options)
