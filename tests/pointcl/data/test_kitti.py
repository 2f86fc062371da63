from __future__ import annotations

import numpy as np
import pytest
import scan_layouts as layouts

from densecl.data.decode import UnreadableFileError
from densecl.errors import UsageError
from pointcl.data import KITTI
from pointcl.data.kitti import read_boxes
from pointcl.data.kitti_calibration import KittiCalibration, read_keyed, read_object_calibration
from pointcl.registry import DATASETS
from pointcl.sensors.pose import compose, inverse, move

POINT = np.array([[10.0, 2.0, -1.0]])


@pytest.fixture
def root(tmp_path):
    return layouts.kitti(tmp_path)


def project(camera, points, to_ego=None):
    at = move(compose(np.eye(4) if to_ego is None else to_ego, inverse(camera.to_ego)), points)
    pixel = at @ camera.intrinsics.T
    return pixel[:, :2] / pixel[:, 2:]


def test_published_numbers_of_the_projection(root):
    calibration = read_object_calibration(root / "training/calib/000008.txt")
    rect = move(calibration.lidar_to_rect, POINT)
    np.testing.assert_allclose(rect, [[-1.989774, 1.050406, 9.717119]], atol=1e-6)
    pixel = project(KITTI(root)[1].cameras[0], POINT)
    # the benchmark counts from the centre of the first pixel, this library from its corner
    np.testing.assert_allclose(pixel - 0.5, [[466.2946, 250.8025]], atol=1e-4)
    np.testing.assert_allclose(pixel, [[466.7946, 251.3025]], atol=1e-4)


def test_folded_baseline_is_exact(root):
    """The folded pose and plain intrinsics give the pixels of the (3, 4) projection."""
    points = layouts.cloud(3)[:, :3].astype(np.float64)
    points = points[points[:, 0] > 3]
    (root / "training" / "image_3").mkdir()
    for stem in ("000003", "000008"):
        layouts.picture(root / f"training/image_3/{stem}.png", (375, 1242))
    cameras = KITTI(root, cameras=("image_2", "image_3"))[0].cameras
    for camera, row in zip(cameras, (layouts.P2, layouts.P3), strict=True):
        found = project(camera, points)
        for point, pixel in zip(points, found, strict=True):
            to_cam = np.vstack([np.array(layouts.VELO).reshape(3, 4), [0, 0, 0, 1]])
            rect = np.array(layouts.R0).reshape(3, 3) @ (to_cam @ [*point, 1])[:3]
            u, v, w = np.array(row).reshape(3, 4) @ [*rect, 1]
            # the calibration's rotations are rounded to seven digits
            np.testing.assert_allclose(pixel, [u / w + 0.5, v / w + 0.5], atol=2e-3)


def test_baseline_is_a_few_centimetres_not_pixels(root):
    camera = KITTI(root)[0].cameras[0]
    calibration = read_object_calibration(root / "training/calib/000003.txt")
    rect_to_camera = compose(inverse(calibration.lidar_to_rect), inverse(camera.to_ego))
    baseline = (44.85728 - 609.5593 * 0.002745884) / 721.5377
    np.testing.assert_allclose(rect_to_camera[0, 3], baseline, atol=1e-6)
    np.testing.assert_allclose(rect_to_camera[2, 3], 0.002745884, atol=1e-6)
    assert camera.intrinsics[0, 2] == 610.0593
    assert camera.intrinsics[1, 2] == 173.354


def test_calibration_is_read_by_key_not_by_line(root):
    path = root / "training/calib/000003.txt"
    before = KITTI(root)[0].cameras[0]
    lines = path.read_text().splitlines()
    path.write_text("\n".join(reversed(lines)))
    after = KITTI(root)[0].cameras[0]
    assert np.array_equal(before.to_ego, after.to_ego)
    assert np.array_equal(before.intrinsics, after.intrinsics)


def test_frame_has_points_and_reflectance_of_the_file(root):
    scan = KITTI(root)[1]
    values = layouts.cloud(1)
    assert np.array_equal(scan.points, values[:, :3])
    np.testing.assert_allclose(scan.intensity, values[:, 3], rtol=1e-6)
    assert (scan.name, scan.source, scan.sequence) == ("training/000008", 1, "")
    assert scan.cameras[0].key == "training/image_2/000008"
    assert scan.cameras[0].size == (375, 1242)
    assert scan.cameras[0].image().shape == (375, 1242, 3)
    assert not scan.compensated


def test_boxes_come_to_the_lidar_frame_by_their_middle(root):
    boxes = KITTI(root)[0].boxes
    assert boxes.label == ["Car"]  # DontCare is left out
    np.testing.assert_array_equal(boxes.extent, [[4.0, 1.6, 1.5]])
    calibration = read_object_calibration(root / "training/calib/000003.txt")
    middle = move(inverse(calibration.lidar_to_rect), np.array([[1.0, 1.65 - 0.75, 20.0]]))
    np.testing.assert_allclose(boxes.centre, middle, atol=1e-9)
    # near the nominal frames: x forward is z of the camera, y left is -x, z up is -y
    np.testing.assert_allclose(boxes.centre, [[20.0, -1.0, -0.9]], atol=0.45)
    # heading = -ry - pi / 2, up to the few milliradians between LiDAR and camera
    np.testing.assert_allclose(boxes.yaw, [1.2 - np.pi / 2], atol=0.02)


@pytest.mark.parametrize(
    ("angle", "heading"), [(0.0, -np.pi / 2), (-np.pi / 2, 0.0), (1.0, -1.0 - np.pi / 2)]
)
def test_box_heading_points_where_the_object_drives(tmp_path, angle, heading):
    """An object with ry = 0 drives along the camera's x, which is the LiDAR's -y."""
    nominal = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
    path = layouts.put(tmp_path / "1.txt", f"Car 0 0 0 0 0 0 0 2 1 4 3 1.5 10 {angle}\n")
    boxes = read_boxes(path, KittiCalibration(path, nominal, {}))
    np.testing.assert_allclose(boxes.yaw, [heading], atol=1e-12)
    np.testing.assert_allclose(boxes.centre, [[10, -3, -0.5]], atol=1e-12)


def test_frames_can_be_listed(root):
    layouts.put(root / "ImageSets" / "val.txt", "000008\n")
    assert KITTI(root, names="val").name(0) == "training/000008"
    assert KITTI(root, names=["000008", "000003"]).name(1) == "training/000003"
    assert len(KITTI(root, names=str(root / "ImageSets" / "val.txt"))) == 1
    with pytest.raises(UsageError, match=r"frames, e\.g\. '000009'"):
        KITTI(root, names=["000009"])
    with pytest.raises(UsageError, match=r"train\.txt"):
        KITTI(root, names="train")


def test_testing_split_has_no_boxes(tmp_path):
    layouts.kitti(tmp_path, split="testing")
    assert KITTI(tmp_path, split="testing")[0].boxes is None


def test_frame_without_objects_has_no_box(root):
    (root / "training/label_2/000003.txt").write_text("")
    assert len(KITTI(root)[0].boxes) == 0


def test_clouds_alone_need_no_calibration(root):
    for path in (root / "training/calib").iterdir():
        path.unlink()
    scan = KITTI(root, cameras=(), boxes=False)[0]
    assert scan.cameras == ()
    assert scan.boxes is None


def test_found_in_the_registry(root):
    assert len(DATASETS.build({"type": "KITTI", "root": str(root)})) == 2


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("velodyne/000003.bin", b"", "empty"),
        ("velodyne/000003.bin", b"\0" * 30, "30 bytes are no multiple of the 16 of a row"),
        (
            "velodyne/000003.bin",
            np.array([[1, 2, 3, 0.5], [np.nan, 0, 0, 0]], np.float32).tobytes(),
            "points: 1 of 2 rows are NaN or infinite, the first is 1",
        ),
        (
            "velodyne/000003.bin",
            np.array([[1, 2, np.inf, 0.5]], np.float32).tobytes(),
            "points: 1 of 1 rows are NaN or infinite, the first is 0",
        ),
        (
            "velodyne/000003.bin",
            np.array([[1, 2, 3, 200]], np.float32).tobytes(),
            "intensity from 200 to 200, expected 0 to 1",
        ),
        ("calib/000003.txt", b"P2: 1 2 3\n", "it has no R0_rect, only P2"),
        (
            "calib/000003.txt",
            layouts.object_calibration(P2=[1.0, 2.0]).encode(),
            r"P2 has 2 numbers, not \(3, 4\)",
        ),
        (
            "calib/000003.txt",
            layouts.object_calibration(R0_rect=[2.0] * 9).encode(),
            "R0_rect must be a rotation",
        ),
        (
            "calib/000003.txt",
            layouts.object_calibration(P2=[0.0] * 12).encode(),
            "projection of camera 2 has no focal lengths",
        ),
        (
            "calib/000003.txt",
            layouts.object_calibration(Tr_velo_to_cam=[float("nan")] * 12).encode(),
            "Tr_velo_to_cam is not finite",
        ),
        (
            "calib/000003.txt",
            layouts.object_calibration().replace("P2", "P1").encode(),
            "no projection of camera 2",
        ),
        ("label_2/000003.txt", b"Car 0 0 0 1 2 3 4 1 1 1\n", "line 1: .* has no height, width"),
        ("label_2/000003.txt", b"Car 0 0 0 1 2 3 4 1 1 1 0 0 0 x\n", "line 1: could not convert"),
        ("image_2/000003.png", b"\x89PNG\r\n\x1a\n", "truncated PNG"),
    ],
)
def test_every_bad_file_is_named_and_can_be_skipped(root, file, content, message):
    path = root / "training" / file
    path.write_bytes(content)
    with pytest.raises(UnreadableFileError, match=message) as error:
        KITTI(root)[0]
    assert str(path) in str(error.value)
    with pytest.raises(UnreadableFileError, match=message):
        KITTI(root).check()
    skipping = KITTI(root, on_error="skip")
    assert skipping[0].source == 1
    assert skipping.skipped == ["training/000003"]
    assert [str(path) in bad for bad in skipping.check().bad] == [True]


@pytest.mark.parametrize("folder", ["calib", "image_2", "label_2", "velodyne"])
def test_missing_file_is_named(root, folder):
    path = next((root / "training" / folder).glob("000003.*"))
    path.unlink()
    if folder == "velodyne":
        assert len(KITTI(root)) == 1
        return
    with pytest.raises(UnreadableFileError, match="No such file") as error:
        KITTI(root)[0]
    assert str(path) in str(error.value)


@pytest.mark.parametrize("folder", ["calib", "image_2", "label_2", "velodyne"])
def test_missing_folder_is_found_at_once(root, folder):
    (root / "training" / folder).rename(root / "elsewhere")
    with pytest.raises(UsageError, match=f"{folder}.* does not exist"):
        KITTI(root)


def test_empty_folder_and_bad_options_are_refused(root):
    with pytest.raises(UsageError, match="split"):
        KITTI(root, split="train")
    with pytest.raises(UsageError, match="cameras"):
        KITTI(root, cameras=("image_9",))
    with pytest.raises(UsageError, match="cameras"):
        KITTI(root, cameras="image_2")
    for path in (root / "training/velodyne").iterdir():
        path.unlink()
    with pytest.raises(UsageError, match=r"holds no \.bin file"):
        KITTI(root)


def test_check_refuses_a_calibration_that_maps_every_point_behind_the_camera(root):
    values = np.array(layouts.VELO).reshape(3, 4)
    # every point in front of the vehicle; the camera turned around
    points = np.abs(layouts.cloud(0))
    points[:, 0] += 5
    turned = values.copy()
    turned[[0, 2]] *= -1
    for stem in ("000003", "000008"):
        layouts.put(root / f"training/velodyne/{stem}.bin", points)
        text = layouts.object_calibration(Tr_velo_to_cam=list(turned.ravel()))
        layouts.put(root / f"training/calib/{stem}.txt", text)
    with pytest.raises(UsageError, match="camera image_2 of training/000003: every point lies beh"):
        KITTI(root).check()


def test_check_refuses_a_calibration_by_which_no_point_falls_into_the_picture(root):
    far = [*layouts.P2[:2], 90000.0, *layouts.P2[3:]]
    for stem in ("000003", "000008"):
        text = layouts.object_calibration(P2=far)
        layouts.put(root / f"training/calib/{stem}.txt", text)
    with pytest.raises(UsageError, match="no point falls into its picture"):
        KITTI(root).check()


def test_check_reports_what_it_read(root):
    report = KITTI(root).check(count=1)
    assert (report.total, report.points) == (2, [200])
    assert 0 < report.seen["image_2"] < 0.5
    assert "1 of 2 scans read, 200 to 200 points" in str(report)


def test_check_decodes_the_pictures(root):
    path = root / "training/image_2/000003.png"
    path.write_bytes(path.read_bytes()[:200])
    KITTI(root).check(images=False)
    with pytest.raises(UnreadableFileError, match="truncated PNG"):
        KITTI(root).check()


def test_fingerprint_changes_with_the_data_and_the_settings(root):
    first = KITTI(root).fingerprint()
    assert KITTI(root).fingerprint() == first
    assert KITTI(root, cameras=()).fingerprint() != first
    assert KITTI(root, names=["000003"]).fingerprint() != first
    layouts.put(root / "training/velodyne/000003.bin", layouts.cloud(0, many=10))
    assert KITTI(root).fingerprint() != first


def test_lines_that_are_no_numbers_are_left_out(tmp_path):
    path = layouts.put(tmp_path / "c.txt", "calib_time: 09-Jan-2012 13:57:47\nP2: 1 2\n\nTr 3\n")
    assert {key: list(value) for key, value in read_keyed(path).items()} == {
        "P2": [1, 2],
        "Tr": [3],
    }
