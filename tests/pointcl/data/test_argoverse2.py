from __future__ import annotations

import sys

import numpy as np
import pytest
import scan_layouts as layouts

from densecl.data.decode import UnreadableFileError
from densecl.errors import UsageError
from pointcl.data import Argoverse2
from pointcl.sensors.pose import compose, inverse, move

feather = pytest.importorskip("pyarrow.feather", reason="pyarrow is not installed")

FRONT = ("ring_front_center",)


@pytest.fixture
def root(tmp_path):
    return layouts.argoverse2(tmp_path)


def columns_of(path):
    return feather.read_table(path).to_pydict()


def write(path, columns):
    import pyarrow as pa

    feather.write_feather(pa.table(columns), str(path))


def test_sweep_is_the_file(root):
    dataset = Argoverse2(root, cameras=FRONT)
    scan = dataset[1]
    values = columns_of(root / "train/log-a/sensors/lidar/1100000000.feather")
    assert scan.points.dtype == np.float32
    np.testing.assert_array_equal(scan.points[:, 0], np.array(values["x"], np.float32))
    np.testing.assert_allclose(scan.intensity, np.array(values["intensity"]) / 255, atol=1e-6)
    np.testing.assert_array_equal(scan.ring, values["laser_number"])
    np.testing.assert_allclose(scan.time, np.array(values["offset_ns"]) * 1e-9, atol=1e-9)
    assert scan.timestamp == pytest.approx(1.1)
    assert (scan.name, scan.sequence, scan.source) == ("log-a/1100000000", "log-a", 1)
    assert np.array_equal(scan.to_ego, np.eye(4))
    np.testing.assert_allclose(scan.ego_to_world[:3, 3], [11, 0, 0])


def test_camera_is_nearest_in_time_and_has_the_pose_of_its_time(root):
    folder = root / "train/log-a/sensors/cameras" / FRONT[0]
    layouts.picture(folder / "1075000000.jpg", (600, 800))
    scan = Argoverse2(root, cameras=FRONT)[1]
    camera = scan.cameras[0]
    assert camera.source.name == "1120000000.jpg"  # 20 ms after, not 25 ms before
    assert camera.timestamp == pytest.approx(1.12)
    np.testing.assert_allclose(camera.ego_to_world[:3, 3], [11.2, 0, 0])
    assert camera.key == "log-a/ring_front_center/1120000000"
    assert camera.distortion is None
    assert camera.size == camera.image().shape[:2] == (600, 800)


def test_way_of_a_point_to_its_pixel(root):
    """Half a pixel is added to the principal point, and the vehicle drives on by 0.2 m."""
    scan = Argoverse2(root, cameras=FRONT)[0]
    camera = scan.cameras[0]
    chain = compose(
        scan.to_ego, scan.ego_to_world, inverse(camera.ego_to_world), inverse(camera.to_ego)
    )
    at = move(chain, np.array([[11.7, 1.0, 1.9]]))
    np.testing.assert_allclose(at, [[-1, -0.5, 10.0]], atol=1e-9)
    pixel = at @ camera.intrinsics.T
    np.testing.assert_allclose(pixel[0, :2] / pixel[0, 2], [300.5, 250.5])


def test_boxes_of_the_sweep_in_the_ego_frame(root):
    dataset = Argoverse2(root, cameras=FRONT)
    boxes = dataset[0].boxes
    assert sorted(boxes.label) == ["BUS", "PEDESTRIAN"]
    np.testing.assert_allclose(boxes.centre[0], [10, 1, 0.5])
    np.testing.assert_allclose(boxes.extent[0], [4, 2, 1.5])
    np.testing.assert_allclose(boxes.yaw, np.radians(30))
    ids = dict(zip(boxes.label, boxes.instance, strict=True))
    assert ids["BUS"] != ids["PEDESTRIAN"]
    assert dataset[1].boxes.label == ["BUS"]
    assert dataset[1].boxes.instance[0] == ids["BUS"]


def test_log_without_annotations_has_no_boxes(root):
    assert Argoverse2(root, cameras=FRONT, boxes=False)[0].boxes is None
    (root / "train/log-a/annotations.feather").unlink()
    assert Argoverse2(root, cameras=FRONT)[0].boxes is None


def test_logs_may_lie_in_the_root_and_be_chosen(tmp_path):
    for log in ("a", "b"):
        layouts.argoverse2(tmp_path, log)
    assert Argoverse2(tmp_path, None, cameras=()).sequences == ["a", "a", "b", "b"]
    assert Argoverse2(tmp_path, None, logs=["b"], cameras=()).sequences == ["b", "b"]
    with pytest.raises(UsageError, match="has no log c"):
        Argoverse2(tmp_path, None, logs=["c"])
    with pytest.raises(UsageError, match="train does not exist"):
        Argoverse2(tmp_path, "train")
    with pytest.raises(UsageError, match="one of train, val, test, or None"):
        Argoverse2(tmp_path, "mini")


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("city_SE3_egovehicle.feather", "does not exist"),
        ("calibration/intrinsics.feather", r"does not exist(.|\n)*data.cameras=\(\)"),
        ("calibration/egovehicle_SE3_sensor.feather", "does not exist"),
    ],
)
def test_missing_files_of_a_log_are_found_before_training(root, file, message):
    (root / "train/log-a" / file).unlink()
    with pytest.raises(UsageError, match=message) as error:
        Argoverse2(root, cameras=FRONT)
    assert file in str(error.value)


def test_missing_camera_is_found_before_training(root):
    with pytest.raises(UsageError, match=r"ring_front_right does not exist"):
        Argoverse2(root)


def test_clouds_alone_need_no_calibration(root):
    (root / "train/log-a/calibration/intrinsics.feather").unlink()
    assert Argoverse2(root, cameras=())[0].cameras == ()


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("sensors/lidar/1000000000.feather", lambda c: c.pop("x"), "it has no column x, only y"),
        (
            "sensors/lidar/1000000000.feather",
            lambda c: c["z"].__setitem__(3, float("nan")),
            "points: 1 of 200 rows are NaN or infinite, the first is 3",
        ),
        (
            "sensors/lidar/1000000000.feather",
            lambda c: [values.clear() for values in c.values()],
            "the sweep has no point",
        ),
        ("city_SE3_egovehicle.feather", lambda c: c["qw"].__setitem__(0, 2.0), "of length 1"),
        (
            "city_SE3_egovehicle.feather",
            lambda c: c["timestamp_ns"].__setitem__(0, 900_000_000),
            "no pose within 0.01 s of 1000000000",
        ),
        (
            "calibration/intrinsics.feather",
            lambda c: c["sensor_name"].__setitem__(0, "other"),
            "it has no sensor ring_front_center, only other",
        ),
        ("calibration/intrinsics.feather", lambda c: c["fx_px"].__setitem__(0, 0.0), "'fx_px': "),
        (
            "calibration/egovehicle_SE3_sensor.feather",
            lambda c: c["qw"].__setitem__(0, 3.0),
            "of length 1",
        ),
    ],
)
def test_bad_table_is_named(root, file, change, message):
    path = root / "train/log-a" / file
    columns = columns_of(path)
    change(columns)
    write(path, columns)
    with pytest.raises(UnreadableFileError, match=message) as error:
        Argoverse2(root, cameras=FRONT)[0]
    assert str(path) in str(error.value)


def test_damaged_sweep_can_be_skipped(root):
    path = root / "train/log-a/sensors/lidar/1000000000.feather"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UnreadableFileError, match=r"1000000000\.feather"):
        Argoverse2(root, cameras=FRONT)[0]
    assert Argoverse2(root, cameras=FRONT, on_error="skip")[0].source == 1


def test_missing_picture_is_named(root):
    folder = root / "train/log-a/sensors/cameras" / FRONT[0]
    (folder / "1020000000.jpg").unlink()
    with pytest.raises(UnreadableFileError, match=r"no picture within 0\.06 s of the sweep 1000"):
        Argoverse2(root, cameras=FRONT)[0]


def test_every_camera_sees_points(root):
    assert Argoverse2(root, cameras=FRONT).check().seen["ring_front_center"] > 0


def test_missing_pyarrow_names_the_extra(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.feather", None)
    with pytest.raises(UsageError, match=r"pip install 'densecl\[3d\]'"):
        Argoverse2(root)


def test_fingerprint_changes_with_the_data_and_the_settings(root):
    first = Argoverse2(root, cameras=FRONT).fingerprint()
    assert Argoverse2(root, cameras=FRONT).fingerprint() == first
    assert Argoverse2(root, cameras=()).fingerprint() != first
    assert Argoverse2(root, cameras=FRONT, boxes=False).fingerprint() != first
    path = root / "train/log-a/sensors/lidar/1000000000.feather"
    path.write_bytes(path.read_bytes() + b"0")
    assert Argoverse2(root, cameras=FRONT).fingerprint() != first
