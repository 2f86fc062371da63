"""Splits share neither town, drive nor sensor; the world of the pictures stays as it is."""

from __future__ import annotations

import numpy as np
import pytest

from densecl.data.streets.draw import BANDS
from densecl.data.streets.drive import build_drive
from densecl.data.streets.render import render
from densecl.data.streets.splits import TOWNS, WORLD_VERSION
from pointcl.data.streets.rig import CAMERAS, draw_mounts
from pointcl.data.streets.sensor import draw_sensor, fan
from pointcl.data.streets.splits import CLIPS, LENGTHS, TURNS, instant


@pytest.fixture(scope="module")
def drives():
    """Group -> some of its drives."""
    found: dict[str, list] = {"home": [], "val": [], "test": []}
    for split in ("train", "val", "test"):
        group, towns = TOWNS[split]
        for town in list(towns)[:3]:
            found[group] += [build_drive(group, 0, town, split, k) for k in range(2)]
    return found


def test_the_world_of_the_pictures_has_not_moved():
    assert WORLD_VERSION == "1"
    drive = build_drive("val", 0, 12, "val", 0)
    plain = render(drive, 1.0, (24, 32))
    given = render(drive, 1.0, (24, 32), camera=drive.camera(1.0, (24, 32)))
    np.testing.assert_array_equal(plain.image, given.image)
    moving = drive.troupe.at(1.7)
    same = drive.troupe.at(1.7, np.full(len(drive.troupe.actors), 1.7))
    for name in ("centre", "rotation", "velocity"):
        np.testing.assert_array_equal(getattr(moving, name), getattr(same, name))


def test_splits_share_no_town_and_no_drive():
    seen: dict[str, str] = {}
    for split in TOWNS:
        for k in range(100):
            sequence = instant(split, k, 1, 5).sequence
            assert seen.setdefault(sequence, split) == split
    towns = {s: {name.split("/")[1] for name in seen if name.startswith(s)} for s in TOWNS}
    assert towns["pretrain"] == towns["train"]
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        assert not towns[one] & towns[other]


def test_no_two_groups_share_a_sensor(drives):
    for name, low, high in (("height", 1.55, 2.45), ("gain", 0.75, 1.35), ("fade", 35.0, 80.0)):
        for group, members in drives.items():
            for drive in members:
                sensor = draw_sensor(drive, 16, 100)
                value = sensor.to_ego[2, 3] if name == "height" else getattr(sensor.optics, name)
                assert int((value - low) / (high - low) * 10) in BANDS[group]


def test_sensors_differ_from_drive_to_drive(drives):
    sensors = [draw_sensor(d, 32, 100) for members in drives.values() for d in members]
    heights = [s.to_ego[2, 3] for s in sensors]
    tilts = [np.degrees(np.arccos(s.to_ego[2, 2])) for s in sensors]
    assert np.ptp(heights) > 0.5
    assert 1.0 < max(tilts) < 3.5
    assert len({s.elevations.tobytes() for s in sensors}) == len(sensors)
    assert len({s.optics.gain for s in sensors}) == len(sensors)


@pytest.mark.parametrize("beams", [2, 8, 32, 64])
def test_beams_fall_from_ten_degrees_to_minus_thirty_closest_at_the_horizon(beams):
    rise = np.degrees(fan(beams, np.random.default_rng(0)))
    assert rise[0] == pytest.approx(10)
    assert rise[-1] == pytest.approx(-30)
    assert (np.diff(rise) < 0).all()
    if beams > 8:
        gap = -np.diff(rise)
        assert np.median(gap[rise[1:] < -12]) > 2 * np.median(gap[np.abs(rise[1:]) < 3])


def test_cameras_look_all_round_and_fire_off_the_beat(drives):
    lags = []
    for members in drives.values():
        for drive in members:
            mounts = draw_mounts(drive)
            for name, bearing in CAMERAS.items():
                mount = mounts[name]
                ahead = mount.to_ego[:3, 2]
                turned = np.arctan2(ahead[1], ahead[0]) - bearing
                assert abs((turned + np.pi) % (2 * np.pi) - np.pi) < 0.3
                assert mount.to_ego[2, 1] < -0.9, "down is down"
                k = mount.intrinsics((120, 160))
                assert k[0, 2] == 80
                assert k[1, 2] == 60
                lags.append(mount.lag)
    assert max(np.abs(lags)) <= 0.1
    assert np.std(lags) > 0.02
    assert len(set(lags)) == len(lags)


def test_instants_are_stable_and_never_collide():
    for clip, gap in ((1, 5), (2, 5), (4, 7)):
        names = [instant("pretrain", k, clip, gap).name for k in range(400)]
        assert len(set(names)) == 400
    one, two = instant("pretrain", 4, 2, 5), instant("pretrain", 5, 2, 5)
    assert (two.turn - one.turn, two.sequence) == (5, one.sequence)
    assert two.time - one.time == pytest.approx(0.5)
    later = instant("pretrain", 24, 2, 5)
    assert later.turn == TURNS
    assert later.time == pytest.approx(one.time + 2.2)
    assert set(LENGTHS) == set(CLIPS) == set(TOWNS)
