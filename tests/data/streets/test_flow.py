"""Flow against independent reprojection, rigid motion, warping and the way back."""

from __future__ import annotations

import numpy as np
import pytest

from densecl.data.streets.classes import IGNORE
from densecl.data.streets.drive import build_drive
from densecl.data.streets.flow import flow, moved_points
from densecl.data.streets.render import render
from densecl.data.streets.splits import CLIP_GAP

SIZE = (60, 80)


@pytest.fixture(scope="module", params=[0, 3])
def pair(request):
    drive = build_drive("val", 0, 12, "val", request.param)
    now = render(drive, 1.0, SIZE, colour=False)
    later = render(drive, 1.0 + CLIP_GAP, SIZE, colour=False)
    return drive, now, later, flow(now, later.scene, later.camera)


def grid():
    row, column = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]), indexing="ij")
    return row, column


def test_flow_of_static_points_is_the_reprojection_of_depth(pair):
    _, now, later, field = pair
    k, inverse = later.camera.intrinsics, np.linalg.inv(now.camera.intrinsics)
    to_world = np.linalg.inv(now.camera.extrinsics)
    count = 0
    for r in range(0, SIZE[0], 3):
        for c in range(0, SIZE[1], 3):
            still = now.instance[r, c] < 1_000_000
            if not still or not np.isfinite(now.depth[r, c]) or np.isnan(field[r, c, 0]):
                continue
            ray = inverse @ np.array([c + 0.5, r + 0.5, 1.0]) * float(now.depth[r, c])
            world = to_world @ np.append(ray, 1.0)
            local = k @ (later.camera.extrinsics @ world)[:3]
            want = local[:2] / local[2] - (c + 0.5, r + 0.5)
            assert np.abs(want - field[r, c]).max() < 0.01
            count += 1
    assert count > 150


def test_sky_flow_is_the_camera_rotation_alone(pair):
    _, now, later, field = pair
    sky = np.isinf(now.depth) & ~np.isnan(field[..., 0])
    assert sky.sum() > 20
    r, c = (v[sky] for v in grid())
    ray = np.linalg.inv(now.camera.intrinsics) @ np.stack([c + 0.5, r + 0.5, np.ones(len(r))])
    turned = later.camera.intrinsics @ later.camera.rotation @ now.camera.rotation.T @ ray
    want = (turned[:2] / turned[2]).T - np.stack([c + 0.5, r + 0.5], -1)
    np.testing.assert_allclose(field[sky], want, atol=1e-3)


def test_flow_lands_on_the_same_object_and_class(pair):
    _, now, later, field = pair
    seen = ~np.isnan(field[..., 0])
    r, c = (v[seen] for v in grid())
    x = np.clip(np.floor(c + 0.5 + field[seen][:, 0]).astype(int), 0, SIZE[1] - 1)
    y = np.clip(np.floor(r + 0.5 + field[seen][:, 1]).astype(int), 0, SIZE[0] - 1)
    # The nearest pixel centre may lie across an outline; its neighbours then hold the object.
    hit = np.zeros(len(r), bool)
    label = np.zeros(len(r), bool)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            at = np.clip(y + dy, 0, SIZE[0] - 1), np.clip(x + dx, 0, SIZE[1] - 1)
            hit |= later.instance[at] == now.instance[r, c]
            label |= (later.label[at] == now.label[r, c]) | (now.label[r, c] == IGNORE)
    straight = later.instance[y, x] == now.instance[r, c]
    assert straight.mean() > 0.93
    assert hit.mean() > 0.985
    assert label.mean() > 0.985
    assert 0.4 < seen.mean() < 0.999


def test_hidden_and_outside_points_have_no_flow(pair):
    """Where the flow is missing, the moved point is outside or behind a nearer surface."""
    _, now, later, field = pair
    points = moved_points(now, later.scene)
    sky = np.isinf(now.depth)
    pixel, depth = later.camera.project(points)
    inside = (pixel >= 0).all(-1) & (pixel[..., 0] <= SIZE[1]) & (pixel[..., 1] <= SIZE[0])
    inside &= ~sky
    x = np.clip(np.floor(np.nan_to_num(pixel[..., 0])).astype(int), 0, SIZE[1] - 1)
    y = np.clip(np.floor(np.nan_to_num(pixel[..., 1])).astype(int), 0, SIZE[0] - 1)
    missing = np.isnan(field[..., 0])
    assert missing[~inside & ~sky].all()
    around = np.stack(
        [
            later.depth[np.clip(y + dy, 0, SIZE[0] - 1), np.clip(x + dx, 0, SIZE[1] - 1)]
            for dy in (-1, 0, 1)
            for dx in (-1, 0, 1)
        ]
    )
    # All pixels around agree, so the nearest-pixel reading cannot be off by an outline.
    hidden = inside & (around.max(0) < 0.8 * depth)
    seen = inside & (np.abs(around - depth) < 0.01 * depth).all(0)
    assert hidden.sum() >= 3
    assert missing[hidden].mean() > 0.95
    assert missing[seen].mean() < 0.02


def test_a_moving_actor_carries_its_points_along():
    found = 0
    for number in range(6):
        drive = build_drive("val", 0, 12, "val", number)
        now = render(drive, 1.0, SIZE, colour=False)
        later_camera = drive.camera(1.15, SIZE)
        field = flow(now, drive.scene(1.15), later_camera)
        for actor in drive.troupe.actors:
            if actor.rate > 0 or actor.speed == 0:
                continue
            r, c = np.nonzero((now.instance == actor.instance) & ~np.isnan(field[..., 0]))
            for y, x in zip(r[:20], c[:20], strict=True):
                way = now.camera.directions(np.array([x + 0.5, y + 0.5]))
                point = now.camera.position + now.depth[y, x] * way
                moved = point + actor.at(1.15) - actor.at(1.0)
                pixel, _ = later_camera.project(moved)
                assert np.abs(pixel - (x + 0.5, y + 0.5) - field[y, x]).max() < 0.02
                found += 1
    assert found > 20


def test_forward_then_backward_returns(pair):
    _, now, later, field = pair
    back = flow(later, now.scene, now.camera)
    seen = ~np.isnan(field[..., 0])
    r, c = (v[seen] for v in grid())
    x, y = c + 0.5 + field[seen][:, 0], r + 0.5 + field[seen][:, 1]
    column = np.clip(np.floor(x).astype(int), 0, SIZE[1] - 1)
    row = np.clip(np.floor(y).astype(int), 0, SIZE[0] - 1)
    same = later.prim[row, column] == now.prim[r, c]
    error = np.linalg.norm(field[seen] + back[row, column], axis=1)[same]
    error = error[~np.isnan(error)]
    assert len(error) > 500
    # Read at the nearest centre, up to 0.7 px off: a bound on the flow's own slope.
    assert np.median(error) < 0.1
    assert np.percentile(error, 95) < 0.8


def test_no_motion_is_zero_flow(pair):
    _, now, _, _ = pair
    still = flow(now, now.scene, now.camera)
    known = ~np.isnan(still[..., 0])
    assert known.mean() > 0.99
    np.testing.assert_allclose(still[known], 0, atol=1e-4)
