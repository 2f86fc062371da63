"""The vehicle's poses against its path, one time after another."""

from __future__ import annotations

import numpy as np
import pytest

from densecl.data.streets.drive import build_drive
from pointcl.data.streets.motion import Motion

DRIVES = [("val", 12, "val", k) for k in range(3)] + [("test", 15, "test", k) for k in range(3)]


@pytest.fixture(scope="module")
def drives():
    return [build_drive(group, 0, town, stage, k) for group, town, stage, k in DRIVES]


def test_some_of_these_paths_turn_and_some_do_not(drives):
    bends = [d.path.angle > 0 for d in drives]
    assert any(bends)
    assert not all(bends)


def test_poses_follow_the_path_at_any_time(drives):
    times = np.concatenate([np.linspace(-0.1, 9.0, 60), [0.0]])
    for drive in drives:
        poses = Motion.of(drive).poses(times)
        for time, pose in zip(times, poses, strict=True):
            place, heading = drive.path.at(float(time))
            np.testing.assert_allclose(pose[:3, 3], [*place, 0.0], atol=1e-9)
            ahead = pose[:3, 0]
            np.testing.assert_allclose(np.cos(np.arctan2(ahead[1], ahead[0]) - heading), 1.0)
            np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)


def test_the_vehicle_nods_as_the_camera_of_the_pictures_does(drives):
    for drive in drives:
        times = np.linspace(0, 3, 7)
        poses = Motion.of(drive).poses(times)
        nod = np.arcsin(-poses[:, 2, 0])
        pitch = [drive.camera(t, (12, 16)).rotation[2] for t in times.tolist()]
        down = np.arcsin(-np.array([p[2] for p in pitch]))
        np.testing.assert_allclose(np.diff(nod), np.diff(down), atol=1e-9)


def test_numbers_keep_the_motion_exactly(drives):
    for drive in drives:
        motion = Motion.of(drive)
        again = Motion.from_numbers(motion.to_numbers())
        times = np.linspace(0, 8, 9)
        np.testing.assert_array_equal(again.poses(times), motion.poses(times))
