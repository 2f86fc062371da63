"""True pixels: static points by the poses alone, moving ones by their own motion as well."""

from __future__ import annotations

import numpy as np
import pytest

from densecl.data.streets.raycast import Rays, Window, cast
from densecl.errors import UsageError
from pointcl.data.streets import STATES, LidarStreets
from pointcl.data.streets.truth import BEHIND, OCCLUDED, OUTSIDE, VISIBLE
from pointcl.sensors.pose import compose, inverse, move

SIZE = (60, 80)
NAMES = ("front", "left", "back")


@pytest.fixture(scope="module")
def data():
    return LidarStreets(
        "val", 8, beams=32, steps=300, cameras=NAMES, camera_size=SIZE, compensate=True, cache=False
    )


@pytest.fixture(scope="module")
def seen(data):
    """(scan, camera, truth) of some scans and all their cameras."""
    rows = []
    for k in (1, 4, 7):
        scan = data[k]
        rows += [(k, scan, camera, data.true_pixels(k, camera.name)) for camera in scan.cameras]
    return rows


def projected(scan, camera, ego_motion=True):
    there = inverse(camera.ego_to_world if ego_motion else scan.ego_to_world)
    chain = compose(scan.to_ego, scan.ego_to_world, there, inverse(camera.to_ego))
    local = move(chain, scan.points)
    with np.errstate(divide="ignore", invalid="ignore"):
        return (
            local[:, :2] / local[:, 2:] * camera.intrinsics[[0, 1], [0, 1]]
            + (camera.intrinsics[:2, 2])
        )


def gaps(seen, moving, ego_motion=True):
    found = []
    for _, scan, camera, truth in seen:
        actor = np.isin(scan.label, (8, 9, 10))
        speed = np.linalg.norm(truth.world - move(scan.to_world, scan.points), axis=1) > 0.06
        chosen = truth.visible & ((actor & speed) if moving else ~actor)
        gap = projected(scan, camera, ego_motion)[chosen] - truth.pixels[chosen]
        found.append(np.linalg.norm(gap, axis=1))
    return np.concatenate(found)


def test_poses_bring_static_points_to_their_true_pixel(seen):
    gap = gaps(seen, moving=False)
    assert len(gap) > 3000
    # What is left is the noise of the range, seen from the distance between the sensors.
    assert np.quantile(gap, 0.95) < 0.3
    assert np.median(gap) < 0.05


def test_without_the_motion_of_the_vehicle_they_miss(seen):
    assert np.median(gaps(seen, moving=False, ego_motion=False)) > 0.3


def test_what_moves_by_itself_misses_even_then(seen):
    assert np.median(gaps(seen, moving=True)) > 5 * np.median(gaps(seen, moving=False))


def test_a_visible_point_has_the_class_and_id_of_its_pixel(data, seen):
    right = total = 0
    for k, scan, camera, truth in seen:
        label, instance = (f(k, camera.name) for f in (data.camera_label, data.camera_instance))
        chosen = np.flatnonzero(truth.visible & (scan.label != 255) & (truth.depth < 30))
        # Pixels by an outline show whatever lies under their centre.
        x, y = np.floor(truth.pixels[chosen]).astype(int).T
        inner = np.ones(len(chosen), bool)
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                near = label[np.clip(y + dy, 0, SIZE[0] - 1), np.clip(x + dx, 0, SIZE[1] - 1)]
                inner &= near == label[y, x]
        x, y, chosen = x[inner], y[inner], chosen[inner]
        right += (label[y, x] == scan.label[chosen]).sum()
        total += len(chosen)
        same = label[y, x] == scan.label[chosen]
        ids = instance[y, x][same] == scan.instance[chosen[same]]
        assert ids.mean() > 0.95
    assert total > 2000
    assert right / total > 0.995


def test_hidden_points_lie_behind_something(data, seen):
    """Most points that the sensor hits and the camera does not belong to what is behind."""
    hidden = 0
    for k, scan, camera, truth in seen:
        label = data.camera_label(k, camera.name)
        rows = truth.state == OCCLUDED
        x, y = np.floor(truth.pixels[rows]).astype(int).T
        hidden += rows.sum()
        if rows.sum() > 30:
            visible = truth.visible
            u, v = np.floor(truth.pixels[visible]).astype(int).T
            agree = (label[v, u] == scan.label[visible]).mean()
            assert (label[y, x] == scan.label[rows]).mean() < agree - 0.2
    assert hidden > 50


def test_every_state_is_what_it_says(seen):
    assert STATES == ("visible", "occluded", "outside", "behind")
    for *_, truth in seen:
        assert len(truth.state) == len(truth.pixels) == len(truth.depth)
        behind = truth.depth <= 1e-6
        np.testing.assert_array_equal(truth.state == BEHIND, behind)
        assert np.isnan(truth.pixels[behind]).all()
        x, y = truth.pixels[~behind].T
        inside = (x >= 0) & (x < SIZE[1]) & (y >= 0) & (y < SIZE[0])
        np.testing.assert_array_equal(truth.state[~behind] != OUTSIDE, inside)
        assert set(np.unique(truth.state[~behind][inside])) <= {VISIBLE, OCCLUDED}
        np.testing.assert_array_equal(truth.visible, truth.state == VISIBLE)


def test_a_carried_point_stays_on_its_surface(data):
    """A ray from outside towards a carried point meets the same part there."""
    from pointcl.data.streets.dataset import _rendered
    from pointcl.data.streets.truth import carried

    _, hits = _rendered(data.recipe, 4)
    drive = data.recipe.drive(4)
    beam, step = np.nonzero(np.isfinite(hits.distance) & (hits.prim >= len(drive.static)))
    time = data.recipe.instant(4).time + 0.12
    points = carried(hits, (beam, step), drive, time)
    scene = drive.scene(time)
    prim = hits.prim[beam, step]
    assert len(points) > 150
    swung = np.abs(scene.rotation[prim] - hits.scene.rotation[prim]).max((1, 2)) > 0.1
    limbs, rest = np.flatnonzero(swung), np.flatnonzero(~swung)
    assert len(limbs) > 20
    off = []
    for k in [*limbs[:30], *rest[::9]]:
        one = scene.take(prim[k : k + 1])
        # From the side that the sensor saw, a metre out along its ray, moved with the part.
        way = hits.firing.rays().direction[:, beam[k], step[k]].astype(np.float64)
        turn = one.rotation[0].astype(np.float64) @ hits.scene.rotation[prim[k]].T
        way = turn @ way
        ray = Rays(points[k] - 0.5 * way, way[:, None].astype(np.float32))
        t, ids = cast(one, ray, Window(np.zeros(1, np.int64), np.zeros(1)))
        off.append(abs(t[0] - 0.5) if ids[0] == 0 else np.inf)
    assert np.quantile(off[:20], 0.85) < 0.01
    assert np.quantile(off, 0.9) < 0.01


def test_a_camera_that_is_not_there_is_named(data):
    with pytest.raises(UsageError, match="'right'"):
        data.true_pixels(0, "right")
    with pytest.raises(UsageError, match="front, left, back"):
        data.camera_label(0, "top")
