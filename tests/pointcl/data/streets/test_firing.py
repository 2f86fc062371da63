"""Rays of a turn: directions, times, origins, and ranges against a slow float64 loop."""

from __future__ import annotations

import numpy as np
import pytest
from lidar_scenes import WEDGE, crowd, make_motion, make_scene, make_sensor

from densecl.data.streets import primitives as P
from densecl.data.streets.raycast import GROUND, SKY_ID, cast
from pointcl.data.streets.firing import drift, fire
from pointcl.data.streets.window import window


def test_the_sensor_turns_clockwise_and_looks_ahead_at_the_timestamp():
    firing = fire(make_sensor(steps=200), make_motion(), 1.0)
    way = firing.directions[0]
    ahead = np.argmax(way[:, 0])
    assert abs(firing.delay[ahead]) < 0.0005
    assert way[50, 1] > 0.9, "on the left a quarter of a turn before"
    assert firing.delay[50] == pytest.approx(-0.025, abs=0.0005)
    np.testing.assert_allclose(np.linalg.norm(firing.directions, axis=-1), 1.0)
    np.testing.assert_allclose(firing.delay.mean(), 0, atol=1e-12)
    np.testing.assert_allclose(np.diff(firing.delay), 0.1 / 200)


def test_each_ray_starts_where_the_sensor_is_when_it_fires():
    sensor, motion = make_sensor(tilt=0.03), make_motion(speed=8.0, radius=9.0, bump=0.01)
    firing = fire(sensor, motion, 0.7)
    rays = firing.rays()
    for step in (0, 31, 119):
        pose = motion.pose(0.7 + firing.delay[step]) @ sensor.to_ego
        np.testing.assert_allclose(rays.origin[:, 5, step], pose[:3, 3], atol=1e-12)
        want = pose[:3, :3] @ firing.directions[5, step]
        np.testing.assert_allclose(rays.direction[:, 5, step], want, atol=1e-6)
        assert rays.delay[5, step] == pytest.approx(firing.delay[step])
    assert np.linalg.norm(rays.origin[:, 0, 0] - rays.origin[:, 0, -1]) > 0.7


@pytest.mark.parametrize("tilt", [0.0, 0.04])
def test_ranges_on_flat_ground_are_exact(tilt):
    sensor = make_sensor(height=2.1, tilt=tilt)
    firing = fire(sensor, make_motion(speed=7.0), 0.5)
    empty = make_scene()
    t, ids = cast(empty, firing.rays(), window(firing, empty, 90.0))
    down = firing.directions @ sensor.to_ego[2, :3]
    want = np.where(down < 0, 2.1 / np.maximum(-down, 1e-9), np.inf)
    np.testing.assert_allclose(t, want, rtol=3e-6)
    assert ((ids == GROUND) == (down < 0)).all()
    assert (ids == SKY_ID).sum() > 100


def slow_hit(kind, half, origin, way, hollow) -> float:
    """First t > 0 at which a ray enters a shape, in plain float64 numbers."""
    if kind == P.ELLIPSOID:
        o, d = origin / half, way / half
        a, b, c = d @ d, o @ d, o @ o - 1
        if b * b <= a * c:
            return np.inf
        t = (-b - np.sqrt(b * b - a * c)) / a
        return t if t > 0 else np.inf
    planes = {
        P.BOX: [(*s * e, h) for e, h in zip(np.eye(3), half, strict=True) for s in (1, -1)],
        P.CYLINDER: [(0, 0, 1, half[2]), (0, 0, -1, half[2])],
        P.HULL: [tuple(row) for row in WEDGE.astype(float)],
    }[kind]
    enter, leave = -np.inf, np.inf
    if kind == P.CYLINDER:
        o, d = origin[:2] / half[:2], way[:2] / half[:2]
        a, b, c = d @ d, o @ d, o @ o - 1
        if b * b <= a * c:
            return np.inf
        root = np.sqrt(b * b - a * c)
        enter, leave = (-b - root) / a, (-b + root) / a
    for *normal, offset in planes:
        along, room = np.dot(normal, way), offset - np.dot(normal, origin)
        if along < 0:
            enter = max(enter, room / along)
        elif along > 0:
            leave = min(leave, room / along)
        elif room < 0:
            return np.inf
    return enter if 0 < enter <= leave else np.inf


def slow_turn(scene, sensor, motion, time):
    """Every ray against every primitive, each at its own moment."""
    beams, steps = sensor.shape
    t, ids = np.full((beams, steps), np.inf), np.full((beams, steps), SKY_ID)
    for step in range(steps):
        share = (step + 0.5) / steps
        late, azimuth = 0.1 * (share - 0.5), np.pi - 2 * np.pi * share
        pose = motion.pose(time + late) @ sensor.to_ego
        for beam, rise in enumerate(sensor.elevations):
            way = pose[:3, :3] @ np.array(
                [np.cos(rise) * np.cos(azimuth), np.cos(rise) * np.sin(azimuth), np.sin(rise)]
            )
            if way[2] < 0:
                t[beam, step], ids[beam, step] = -pose[2, 3] / way[2], GROUND
            for k in range(len(scene)):
                turn = scene.rotation[k].astype(float)
                at = scene.centre[k] + late * scene.velocity[k].astype(float)
                half = scene.half[k].astype(float)
                hit = slow_hit(scene.kind[k], half, (pose[:3, 3] - at) @ turn, way @ turn, 0.0)
                if hit < t[beam, step]:
                    t[beam, step], ids[beam, step] = hit, k
    return t, ids


@pytest.mark.parametrize("seed", range(3))
def test_a_turn_agrees_with_a_loop_over_rays_and_primitives(seed):
    generator = np.random.default_rng(seed)
    scene = crowd(generator, count=12)
    sensor = make_sensor(beams=9, steps=48, tilt=0.03)
    motion = make_motion(speed=8.0, radius=(0.0, 7.0, -5.0)[seed], bump=0.008)
    want_t, want_id = slow_turn(scene, sensor, motion, 0.4)
    firing = fire(sensor, motion, 0.4)
    t, ids = cast(scene, firing.rays(), window(firing, scene, 90.0))
    same = ids == want_id
    # A ray along an outline may fall to either side of it.
    assert same.mean() > 0.995
    np.testing.assert_allclose(t[same], want_t[same], rtol=2e-5, atol=2e-4)
    assert len(np.unique(ids)) > 9
    assert (ids >= 0).mean() > 0.05


@pytest.mark.parametrize("radius", [0.0, 6.0])
def test_a_wall_seen_from_a_moving_vehicle_is_flat_once_compensated(radius):
    """Four walls around the start; the raw points of a moving sensor bend away from them."""
    walls = [
        (P.BOX, (23.0, -2, 2), (0.5, 30, 2)),
        (P.BOX, (-17.0, -2, 2), (0.5, 30, 2)),
        (P.BOX, (3.0, 18, 2), (30, 0.5, 2)),
        (P.BOX, (3.0, -22, 2), (30, 0.5, 2)),
    ]
    scene = make_scene(*walls)
    sensor, motion = make_sensor(tilt=0.02), make_motion(speed=9.0, radius=radius)
    firing = fire(sensor, motion, 0.3)
    t, ids = cast(scene, firing.rays(), window(firing, scene, 90.0))
    beam, step = np.nonzero(ids >= 0)
    raw = firing.directions[beam, step] * t[beam, step, None].astype(np.float64)
    pose = drift(motion, sensor.to_ego, 0.3, firing.delay)[step]
    mended = np.einsum("nij,nj->ni", pose[:, :3, :3], raw) + pose[:, :3, 3]
    to_world = motion.pose(0.3) @ sensor.to_ego

    def off(points):
        world = points @ to_world[:3, :3].T + to_world[:3, 3]
        wall = ids[beam, step]
        axis = (wall >= 2).astype(int)
        plane = np.array([22.5, -16.5, 17.5, -21.5])[wall]
        return np.abs(world[np.arange(len(world)), axis] - plane)

    assert off(mended).max() < 1e-3
    assert np.quantile(off(raw), 0.9) > 0.15


def test_nothing_moves_when_everything_fires_at_once():
    firing = fire(make_sensor(), make_motion(speed=9.0, radius=6.0), 0.5, turn=0.0)
    assert (firing.delay == 0).all()
    assert (firing.poses == firing.poses[0]).all()
