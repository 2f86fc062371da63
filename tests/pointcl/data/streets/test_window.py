"""The window leaves out no ray that meets a primitive, and few that do not."""

from __future__ import annotations

import numpy as np
import pytest
from lidar_scenes import crowd, make_motion, make_scene, make_sensor

from densecl.data.streets import primitives as P
from densecl.data.streets.drive import build_drive
from densecl.data.streets.raycast import Window, cast
from pointcl.data.streets.firing import fire
from pointcl.data.streets.motion import Motion
from pointcl.data.streets.sensor import draw_sensor
from pointcl.data.streets.sweep import posed
from pointcl.data.streets.window import extent, window


def everything(scene) -> Window:
    return Window(np.arange(len(scene)), np.zeros(len(scene)))


def same_hits(scene, firing, reach=90.0) -> int:
    t, ids = cast(scene, firing.rays(), window(firing, scene, reach))
    slow_t, slow_id = cast(scene, firing.rays(), everything(scene))
    differ = (ids != slow_id) & ~np.isclose(t, slow_t, rtol=1e-5)
    assert not differ.any(), f"{differ.sum()} hits lost, on {np.unique(slow_id[differ])}"
    return int((slow_id >= 0).sum())


@pytest.mark.parametrize("seed", range(12))
def test_no_hit_is_lost_among_moving_bodies_all_round(seed):
    generator = np.random.default_rng(seed)
    scene = crowd(generator, count=24, reach=20.0)
    scene.velocity *= 2.5
    radius = float(generator.choice([0.0, 4.5, -4.5, 8.0]))
    motion = make_motion(speed=9.0, radius=radius, bump=0.01)
    firing = fire(make_sensor(beams=32, steps=180, tilt=0.04), motion, generator.uniform(0.2, 1.5))
    assert same_hits(scene, firing) > 150


@pytest.mark.parametrize("speed", [-12.0, 12.0])
def test_what_runs_across_the_rear_is_met_twice_or_never(speed):
    """Behind the sensor the turn begins on the left and ends on the right."""
    firing = fire(make_sensor(), make_motion(heading=0.0), 0.0)
    for start in (-0.6, 0.6):
        scene = make_scene((P.BOX, (-5.0, -1.9 + start, 1.5), (0.3, 0.4, 1.5), (0, speed, 0)))
        assert same_hits(scene, firing) > 10
    scene = make_scene((P.BOX, (-5.0, -1.9, 1.5), (0.3, 0.4, 1.5), (0, speed, 0)))
    same_hits(scene, firing)
    _, ids = cast(scene, firing.rays(), window(firing, scene, 90.0))
    steps = np.flatnonzero((ids >= 0).any(0))
    if speed > 0:
        assert len(steps) == 0
    else:
        assert steps[0] < 10
        assert steps[-1] > 110


@pytest.mark.parametrize(("town", "number", "time"), [(12, 0, 0.1), (13, 2, 2.3), (14, 1, 6.8)])
def test_no_hit_is_lost_in_a_street(town, number, time):
    drive = build_drive("val", 0, town, "val", number)
    firing = fire(draw_sensor(drive, 10, 90), Motion.of(drive), time)
    scene = posed(drive, firing, time)
    middle = firing.poses[45, :2, 3]
    near = np.linalg.norm(scene.centre[:, :2] - middle, axis=1) - scene.radius < 40
    assert same_hits(scene.take(np.flatnonzero(near)), firing) > 300


def test_bodies_wholly_out_of_reach_are_left_out():
    scene = make_scene((P.BOX, (40.0, 0, 1), (1, 1, 1)), (P.BOX, (20.0, 0, 1), (1, 1, 1)))
    firing = fire(make_sensor(), make_motion(), 0.0)
    assert window(firing, scene, 30.0).order.tolist() == [1]


def test_bodies_between_two_beams_are_left_out():
    scene = make_scene((P.ELLIPSOID, (30.0, -2, 1.4), (0.05, 0.05, 0.05)))
    firing = fire(make_sensor(beams=6, steps=60), make_motion(), 0.0)
    assert len(window(firing, scene, 90.0).order) == 0


def test_windows_are_tight():
    """A street's windows hold few rays beside those that hit: that is what makes it fast."""
    drive = build_drive("val", 0, 12, "val", 0)
    firing = fire(draw_sensor(drive, 32, 300), Motion.of(drive), 0.1)
    scene = posed(drive, firing, 0.1)
    tests = window(firing, scene, 90.0).sizes((32, 300)).sum()
    assert tests < 8 * 32 * 300


@pytest.mark.parametrize("kind", [P.BOX, P.ELLIPSOID, P.CYLINDER])
def test_an_extent_holds_every_point_of_the_body_and_is_tight_for_ellipsoids(kind):
    generator = np.random.default_rng(kind)
    unit = generator.normal(size=(4000, 3))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    if kind == P.BOX:
        unit = np.clip(2 * unit, -1, 1)
    for _ in range(60):
        half = generator.uniform(0.2, 3.0, 3)
        turn = np.linalg.qr(generator.normal(size=(3, 3)))[0]
        centre = generator.normal(0, 5, 3)
        seen = extent(np.array([kind]), centre[None], (turn * half)[None])
        points = centre + (unit * half) @ turn.T
        gap = np.arctan2(points[:, 1], points[:, 0]) - np.arctan2(centre[1], centre[0])
        gap = (gap + np.pi) % (2 * np.pi) - np.pi
        flat = np.hypot(points[:, 0], points[:, 1])
        assert gap.max() <= seen.left[0] + 1e-9
        assert -gap.min() <= seen.right[0] + 1e-9
        assert seen.low[0] - 1e-9 <= points[:, 2].min() <= points[:, 2].max() <= seen.high[0] + 1e-9
        assert seen.near[0] - 1e-9 <= flat.min() <= flat.max() <= seen.far[0] + 1e-9
        if kind == P.ELLIPSOID and seen.left[0] < 1.0:
            assert gap.max() > seen.left[0] * 0.95 - 0.01
            assert -gap.min() > seen.right[0] * 0.95 - 0.01


def test_a_body_around_the_sensor_is_seen_all_round():
    axes = np.diag([4.0, 4.0, 1.0])[None]
    for kind in (P.BOX, P.ELLIPSOID):
        seen = extent(np.array([kind]), np.array([[1.0, 1.0, -3.0]]), axes)
        assert seen.left[0] == seen.right[0] == np.pi
        assert seen.near[0] == 0
