from __future__ import annotations

import shutil

import numpy as np
import pytest
import scan_layouts as layouts

from densecl.data.decode import UnreadableFileError
from densecl.errors import UsageError
from pointcl.data import KITTIRaw
from pointcl.data.oxts import EARTH_RADIUS, imu_to_world, read_packet
from pointcl.sensors.pose import compose, inverse, move

DRIVE = "2011_09_26_drive_0001_sync"


@pytest.fixture
def root(tmp_path):
    return layouts.kitti_raw(tmp_path)


@pytest.fixture
def drive(root):
    return root / "2011_09_26" / DRIVE


def test_scan_of_a_drive(root):
    dataset = KITTIRaw(root)
    assert dataset.sequences == [DRIVE] * 3
    scan = dataset[2]
    assert scan.name == f"{DRIVE}/0000000003"
    assert np.array_equal(scan.points, layouts.cloud(3)[:, :3])
    assert scan.cameras[0].key == f"{DRIVE}/image_02/0000000003"
    assert not scan.compensated


def test_times_are_of_the_number_not_of_the_place(root):
    """Scan 2 is missing, its line in timestamps.txt is not."""
    scan = KITTIRaw(root)[2]
    first = KITTIRaw(root)[0]
    assert first.timestamp == pytest.approx(1317042145.0, abs=1e-6)  # 2011-09-26 13:02:25 UTC
    assert scan.timestamp - first.timestamp == pytest.approx(0.3, abs=1e-6)
    assert scan.cameras[0].timestamp == scan.timestamp


def test_ego_is_the_imu_and_moves_by_its_packets(root):
    dataset = KITTIRaw(root)
    imu_to_lidar = np.vstack([np.array(layouts.IMU).reshape(3, 4), [0, 0, 0, 1]])
    np.testing.assert_allclose(dataset[0].to_ego @ imu_to_lidar, np.eye(4), atol=1e-6)
    first, last = dataset[0].ego_to_world, dataset[2].ego_to_world
    np.testing.assert_allclose(first[:3, 3], 0, atol=1e-9)
    north = np.radians(3e-5) * EARTH_RADIUS
    np.testing.assert_allclose(last[:3, 3], [0, north, 3], atol=1e-4)
    np.testing.assert_array_equal(dataset[2].cameras[0].ego_to_world, last)


def test_packet_turns_by_roll_then_pitch_then_yaw():
    origin = np.array([49.0, 8.4, 110.0, 0, 0, 0])
    ahead = np.array([[1.0, 0, 0]])
    yaw = imu_to_world(origin + np.array([0, 0, 0, 0, 0, np.pi / 2]), origin)
    np.testing.assert_allclose(move(yaw, ahead), [[0, 1, 0]], atol=1e-9)  # from east to north
    pitch = imu_to_world(origin + np.array([0, 0, 0, 0, np.pi / 2, 0]), origin)
    np.testing.assert_allclose(move(pitch, ahead), [[0, 0, -1]], atol=1e-9)
    roll = imu_to_world(origin + np.array([0, 0, 0, np.pi / 2, 0, 0]), origin)
    np.testing.assert_allclose(move(roll, np.array([[0, 1.0, 0]])), [[0, 0, 1]], atol=1e-9)
    both = imu_to_world(origin + np.array([0, 0, 0, np.pi / 2, 0, np.pi / 2]), origin)
    np.testing.assert_allclose(move(both, np.array([[0, 1.0, 0]])), [[0, 0, 1]], atol=1e-9)
    np.testing.assert_allclose(move(both, ahead), [[0, 1, 0]], atol=1e-9)


def test_east_is_x_at_the_scale_of_the_latitude():
    origin = np.array([60.0, 8.4, 110.0, 0, 0, 0])
    place = imu_to_world(origin + np.array([0, 1e-3, 2, 0, 0, 0]), origin)[:3, 3]
    np.testing.assert_allclose(place, [0.5 * EARTH_RADIUS * np.radians(1e-3), 0, 2], atol=1e-6)


def test_way_to_the_pixel_is_that_of_the_object_benchmark(root):
    scan = KITTIRaw(root)[0]
    camera = scan.cameras[0]
    at = move(compose(scan.to_ego, inverse(camera.to_ego)), np.array([[10.0, 2.0, -1.0]]))
    pixel = at @ camera.intrinsics.T
    pixel = pixel[:, :2] / pixel[:, 2:]
    # through the IMU and back: its rounded rotation is inverted by transposition
    np.testing.assert_allclose(pixel - 0.5, [[466.2946, 250.8025]], atol=1e-3)


@pytest.mark.parametrize("level", ["", "2011_09_26", f"2011_09_26/{DRIVE}"])
def test_root_may_be_the_recordings_a_date_or_a_drive(root, level):
    assert KITTIRaw(root / level).sequences == [DRIVE] * 3


def test_drive_may_bring_its_own_calibration(tmp_path):
    root = layouts.kitti_raw(tmp_path / "a")
    shutil.move(root / "2011_09_26" / DRIVE, tmp_path / "drive")
    with pytest.raises(UsageError, match=r"calib_cam_to_cam\.txt"):
        KITTIRaw(tmp_path / "drive")
    layouts.put(tmp_path / "drive" / "calib.txt", layouts.object_calibration())
    assert len(KITTIRaw(tmp_path / "drive").check().points) == 3


def test_drives_can_be_chosen(root):
    shutil.copytree(root / "2011_09_26" / DRIVE, root / "2011_09_26" / "other_sync")
    assert set(KITTIRaw(root).sequences) == {DRIVE, "other_sync"}
    assert set(KITTIRaw(root, drives=["other_sync"]).sequences) == {"other_sync"}
    with pytest.raises(UsageError, match="'nope'"):
        KITTIRaw(root, drives=["nope"])


def test_drive_without_packets_has_no_poses(root, drive):
    shutil.rmtree(drive / "oxts")
    scan = KITTIRaw(root)[0]
    assert scan.ego_to_world is None
    assert scan.cameras[0].ego_to_world is None
    with pytest.raises(UsageError, match="has no poses"):
        KITTIRaw(root, poses=True)


def test_poses_can_be_left_out(root):
    assert KITTIRaw(root, poses=False)[0].ego_to_world is None


def test_day_without_imu_has_the_lidar_as_ego(root):
    (root / "2011_09_26" / "calib_imu_to_velo.txt").unlink()
    scan = KITTIRaw(root)[0]
    assert np.array_equal(scan.to_ego, np.eye(4))
    assert scan.ego_to_world is None


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("calib_cam_to_cam.txt", "R_rect_00: 1 0 0 0 1 0 0 0 1\n", "no projection of camera 2"),
        ("calib_cam_to_cam.txt", "P_rect_02: 1\n", "it has no R_rect_00, only P_rect_02"),
        ("calib_velo_to_cam.txt", "R: 1 0 0 0 1 0 0 0 1\n", "it has no T, only R"),
        ("calib_imu_to_velo.txt", "R: 1 1 1 1 1 1 1 1 1\nT: 0 0 0\n", "must be a rotation"),
        (f"{DRIVE}/velodyne_points/timestamps.txt", "2011-09-26 13:02:25.5\n", "1 times, the last"),
        (f"{DRIVE}/velodyne_points/timestamps.txt", "yesterday\n", "line 1"),
    ],
)
def test_what_concerns_a_drive_is_found_before_training(root, file, content, message):
    path = layouts.put(root / "2011_09_26" / file, content)
    with pytest.raises(UsageError, match=message) as error:
        KITTIRaw(root, on_error="skip")
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("oxts/data/0000000001.txt", "1 2 3\n", "expected one line of 30 numbers"),
        ("oxts/data/0000000001.txt", "nan 8 1 0 0 0\n", "not 6 finite numbers"),
        ("oxts/data/0000000001.txt", "91 8 1 0 0 0\n", "latitude 91"),
        ("velodyne_points/data/0000000001.bin", "abc", "no multiple"),
    ],
)
def test_bad_file_is_named_and_can_be_skipped(root, drive, file, content, message):
    path = layouts.put(drive / file, content)
    with pytest.raises(UnreadableFileError, match=message) as error:
        KITTIRaw(root)[1]
    assert str(path) in str(error.value)
    assert KITTIRaw(root, on_error="skip")[1].name.endswith("03")


def test_missing_packet_is_named(root, drive):
    (drive / "oxts/data/0000000001.txt").unlink()
    with pytest.raises(UnreadableFileError, match=r"0000000001\.txt: No such file"):
        KITTIRaw(root)[1]


def test_packet_needs_only_its_first_six_numbers(drive):
    packet = read_packet(drive / "oxts/data/0000000003.txt")
    np.testing.assert_allclose(packet, [49.00003, 8.4, 113, 0.01, -0.02, 0.5])


def test_folders_without_drives_are_refused(tmp_path, root):
    with pytest.raises(UsageError, match="holds no drive"):
        KITTIRaw(layouts.put(tmp_path / "empty" / "a.txt", "").parent)
    with pytest.raises(UsageError, match=r"image_03.* does not exist"):
        KITTIRaw(root, cameras=("image_03",))


def test_fingerprint_changes_with_the_data_and_the_settings(root, drive):
    first = KITTIRaw(root).fingerprint()
    assert KITTIRaw(root).fingerprint() == first
    assert KITTIRaw(root, poses=False).fingerprint() != first
    assert KITTIRaw(root, cameras=()).fingerprint() != first
    layouts.put(drive / "velodyne_points/data/0000000001.bin", layouts.cloud(0, many=9))
    assert KITTIRaw(root).fingerprint() != first
