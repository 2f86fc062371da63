"""What a turn reports: labels and ids as in the pictures, ranges with noise, honest losses."""

from __future__ import annotations

import numpy as np
import pytest

from densecl.data.streets.classes import BUILDING, CLASSES, IGNORE, ROAD
from densecl.data.streets.drive import build_drive
from densecl.data.streets.raycast import GROUND, SKY_ID, Rays, Window, cast
from densecl.data.streets.render import render
from pointcl.data.streets.firing import fire
from pointcl.data.streets.motion import Motion
from pointcl.data.streets.rig import draw_mounts
from pointcl.data.streets.sensor import FARTHEST, NEAREST, draw_sensor
from pointcl.data.streets.sweep import GRAIN, classes_of, posed, strike, sweep

SIZE = (36, 48)


@pytest.fixture(scope="module")
def frozen(drive):
    """Everything fired at once, when the front camera does."""
    motion, sensor = Motion.of(drive), draw_sensor(drive, 24, 240)
    camera = draw_mounts(drive)["front"].camera(motion, 2.3, SIZE)
    firing = fire(sensor, motion, camera.time, turn=0.0)
    picture = render(drive, camera.time, SIZE, colour=False, camera=camera)
    return camera, firing, strike(drive, firing, camera.time), picture


def test_rays_through_pixel_centres_find_what_the_picture_shows(drive, frozen):
    camera, firing, _, picture = frozen
    scene = posed(drive, firing, camera.time)
    row, column = (axis.ravel() for axis in np.indices(SIZE))
    direction = camera.directions(np.stack([column + 0.5, row + 0.5], -1))
    direction = (direction / np.linalg.norm(direction, axis=1, keepdims=True)).T
    rays = Rays(camera.position, np.ascontiguousarray(direction, np.float32), np.zeros(len(row)))
    gap = np.linalg.norm(scene.centre[:, :2] - camera.position[:2], axis=1) - scene.radius
    t, prim = cast(scene, rays, Window(np.flatnonzero(gap < 60), np.zeros(len(scene))))
    near = np.flatnonzero((t < 55) & (picture.depth.ravel() < 55))
    # The picture leaves out what is smaller than a pixel.
    same = prim[near] == picture.prim.ravel()[near]
    assert same.mean() > 0.97
    assert len(near) > 800
    near = near[same]
    points = camera.position + t[near, None] * direction.T[near]
    label = classes_of(scene, prim[near], points)
    np.testing.assert_array_equal(label, picture.label.ravel()[near])
    assert len(np.unique(label)) > 5
    instance = np.concatenate([scene.instance, [-1, -1]])[prim[near]]
    np.testing.assert_array_equal(instance, picture.instance.ravel()[near])


def test_the_scene_of_a_frozen_turn_is_that_of_the_drive(drive, frozen):
    camera, _, hits, _ = frozen
    want = drive.scene(camera.time)
    for name in ("centre", "rotation", "velocity", "label", "instance"):
        np.testing.assert_array_equal(getattr(hits.scene, name), getattr(want, name))


def test_what_the_sensor_hits_the_camera_finds_at_the_projected_place(drive, frozen):
    """Where both look from almost one place, a hit is seen where it projects, or hidden."""
    camera, _, hits, _ = frozen
    where = np.nonzero(np.isfinite(hits.distance) & (hits.distance < 50))
    pixels, depth = camera.project(hits.points(where))
    inside = (pixels >= 0).all(1) & (pixels < SIZE[::-1]).all(1)
    at = pixels[inside]
    rays = Rays(camera.position, np.ascontiguousarray(camera.directions(at).T, np.float32))
    first, prim = cast(hits.scene, rays, camera.window(hits.scene, at))
    same = np.abs(first - depth[inside]) < 0.02
    hit = hits.prim[where][inside]
    assert same.mean() > 0.85
    # Two parts may share a face; what the camera leaves out as too small is seen through.
    assert (prim[same] == hit[same]).mean() > 0.98


def test_limbs_are_posed_for_the_moment_the_beam_passes(drive):
    motion, sensor = Motion.of(drive), draw_sensor(drive, 8, 100)
    firing = fire(sensor, motion, 2.3)
    scene, still = posed(drive, firing, 2.3), len(drive.static)
    troupe = drive.troupe
    velocity = troupe.speed[:, None] * troupe.heading
    for a in np.flatnonzero(troupe.speed > 0.5)[:12]:
        rows = np.flatnonzero(troupe.owner == a)
        spot = troupe.actors[a].at(2.3)
        step = firing.step_towards(spot[None], velocity[a : a + 1])[0]
        late = firing.delay[step]
        then = drive.scene(2.3 + late).take(still + rows)
        now = scene.take(still + rows)
        np.testing.assert_allclose(now.rotation, then.rotation, atol=1e-6)
        np.testing.assert_allclose(now.centre + late * velocity[a], then.centre, atol=1e-9)


def test_the_beam_passes_each_actor_at_its_step(drive):
    firing = fire(draw_sensor(drive, 4, 400), Motion.of(drive), 2.3)
    rng = np.random.default_rng(0)
    middle = firing.poses[200, :3, 3]
    points = middle + rng.normal(0, 15, (200, 3))
    velocity = rng.normal(0, 5, (200, 3))
    gap = np.linalg.norm((points - middle)[:, :2], axis=1)
    points, velocity = points[gap > 4], velocity[gap > 4]
    step = firing.step_towards(points, velocity)
    local = firing.relative(points + velocity * firing.delay[step, None], step)
    azimuth = np.arctan2(local[:, 1], local[:, 0])
    miss = np.abs((azimuth - firing.azimuths[step] + np.pi) % (2 * np.pi) - np.pi)
    # What runs across the rear may be passed twice or never.
    inner = (step > 20) & (step < 379)
    assert inner.sum() > 100
    assert miss[inner].max() < 2 * np.pi / 400


def test_ranges_are_the_truth_with_a_little_noise(turned):
    sensor, got, hits = turned
    where = np.nonzero(got.distance)
    gap = got.distance[where] * GRAIN - hits.distance[where].astype(np.float64)
    spread = sensor.optics.noise * (1 + hits.distance[where] / 100)
    assert abs(gap.mean()) < 0.001
    assert np.std(gap / spread) == pytest.approx(1.0, abs=0.05)
    assert hits.distance[where].min() > NEAREST
    assert hits.distance[where].max() < FARTHEST


def test_no_return_has_no_label(turned):
    _, got, hits = turned
    empty = got.distance == 0
    assert (got.label[empty] == IGNORE).all()
    assert (got.instance[empty] == -1).all()
    assert (got.intensity[empty] == 0).all()
    assert empty[hits.prim == SKY_ID].all()
    road = ~empty & (hits.prim == GROUND)
    assert (got.label[road] == ROAD).all()
    assert CLASSES.index("sky") not in got.label


def test_far_and_slanted_surfaces_are_lost_more_often(turned):
    _, got, hits = turned
    reach = np.isfinite(hits.distance) & (hits.distance < FARTHEST)
    lost = got.distance == 0
    near, far = reach & (hits.distance < 20), reach & (hits.distance > 50)
    assert lost[near].mean() < 0.05
    assert lost[far].mean() > 2 * lost[near].mean()
    ground = reach & (hits.prim == GROUND) & (hits.distance > 25)
    wall = reach & (got.label == BUILDING) & (hits.distance > 25)
    assert lost[ground].mean() > lost[wall].mean()


def test_a_sweep_is_a_function_of_its_drive_and_time(drive, turned):
    sensor, first, _ = turned
    build_drive.cache_clear()
    other = build_drive("val", 0, 12, "val", 1)
    assert other is not drive
    again, _ = sweep(other, draw_sensor(other, 32, 300), 2.3)
    for name in ("distance", "intensity", "label", "instance", "elevations", "to_ego"):
        np.testing.assert_array_equal(getattr(again, name), getattr(first, name))
    later, _ = sweep(other, sensor, 2.4)
    assert (later.distance != first.distance).mean() > 0.5


def test_boxes_hold_the_points_of_their_objects(turned):
    _, got, hits = turned
    inside = total = 0
    turn = hits.firing
    for box, instance in zip(got.objects.box, got.objects.instance, strict=True):
        beam, step = np.nonzero(got.instance == instance)
        points = turn.directions[beam, step] * (got.distance[beam, step, None] * GRAIN)
        away = points - box[:3]
        c, s = np.cos(box[6]), np.sin(box[6])
        along, across = c * away[:, 0] + s * away[:, 1], c * away[:, 1] - s * away[:, 0]
        # Raw points of a turn are off by the motion of half a tenth of a second, at most.
        local = np.abs(np.stack([along, across, away[:, 2]], 1)) - box[3:6] / 2
        inside += (local < 0.9).all(1).sum()
        total += len(points)
        assert (got.label[beam, step] == got.label[beam[0], step[0]]).all()
    assert total > 300
    assert inside / total > 0.98
    seen = set(np.unique(got.instance[np.isin(got.label, (8, 9, 10))]).tolist())
    assert seen == set(got.objects.instance.tolist())
