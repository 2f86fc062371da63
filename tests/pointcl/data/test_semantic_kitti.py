from __future__ import annotations

import numpy as np
import pytest
import scan_layouts as layouts

from densecl.data.decode import UnreadableFileError
from densecl.errors import UsageError
from pointcl.data import SemanticKITTI
from pointcl.data.semantic_kitti import CLASSES, LEARNING_MAP, PALETTE, SPLITS
from pointcl.sensors.pose import compose, inverse, move


@pytest.fixture
def root(tmp_path):
    return layouts.semantic_kitti(tmp_path)


def test_learning_map_is_the_published_one():
    """Ids of the published map start at 1, and its 0 is ignored here."""
    published = {1: (10, 252), 2: (11,), 3: (15,), 4: (18, 258), 6: (30, 254), 7: (31, 253)}
    published |= {5: (13, 16, 20, 256, 257, 259), 8: (32, 255), 9: (40, 60), 10: (44,), 11: (48,)}
    published |= {12: (49,), 13: (50,), 14: (51,), 15: (70,), 16: (71,), 17: (72,), 18: (80,)}
    published |= {19: (81,), 0: (0, 1, 52, 99)}
    expected = {raw: (to - 1 if to else 255) for to, ids in published.items() for raw in ids}
    assert expected == LEARNING_MAP
    assert len(CLASSES) == 19
    assert PALETTE.shape == (19, 3)


def test_splits_are_the_published_ones():
    assert sorted(SPLITS["train"] + SPLITS["val"]) == [f"{n:02d}" for n in range(11)]
    assert SPLITS["val"] == ("08",)
    assert SPLITS["test"] == tuple(f"{n:02d}" for n in range(11, 22))


def test_lower_half_is_the_class_and_upper_half_the_instance(root):
    dataset = SemanticKITTI(root, ["00"])
    scan = dataset[0]
    # raw 0, 10 (7), 40, 252 (9: a moving car), 70, 259 (12: another moving vehicle)
    assert scan.label[:6].tolist() == [255, 0, 8, 0, 14, 4]
    assert scan.instance[:6].tolist() == [-1, 7, -1, 9, -1, 12]
    assert scan.label.dtype == scan.instance.dtype == np.int64
    assert dataset.classes[8] == "road"


def test_scans_come_by_drive(root):
    dataset = SemanticKITTI(root, ["00", "08"])
    assert dataset.sequences == ["00", "00", "08", "08"]
    assert dataset.name(3) == "08/000001"
    assert dataset[3].source == 3
    assert np.array_equal(dataset[3].points, layouts.cloud(11)[:, :3])
    assert SemanticKITTI(root, "val").sequences == ["08", "08"]
    assert dataset[1].timestamp == pytest.approx(0.1)


def test_lidar_poses_are_those_of_the_camera_seen_from_the_lidar(root):
    """By hand: up the camera's z by 1.5 m and its x by 0.1 m is forward and to the right."""
    scan = SemanticKITTI(root, ["00"])[1]
    tr = np.vstack([np.array(layouts.VELO).reshape(3, 4), [0, 0, 0, 1]])
    pose = np.eye(4)
    pose[[0, 2], 3] = 0.1, 1.5
    np.testing.assert_allclose(scan.ego_to_world, np.linalg.inv(tr) @ pose @ tr, atol=1e-5)
    np.testing.assert_allclose(scan.ego_to_world[:3, 3], [1.5, -0.1, 0.0], atol=0.03)
    first = SemanticKITTI(root, ["00"])[0]
    np.testing.assert_allclose(first.ego_to_world, np.eye(4), atol=1e-6)


def test_still_point_stays_where_it_is_in_the_world(tmp_path):
    """Two scans of one landmark, the second from a turned and moved vehicle."""
    layouts.semantic_kitti(tmp_path, ("00",))
    turn = [0.8, 0, 0.6, 2.0, 0, 1, 0, 0.3, -0.6, 0, 0.8, 5.0]
    eye = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]
    layouts.put(
        tmp_path / "sequences/00/poses.txt",
        "\n".join(" ".join(map(str, pose)) for pose in (eye, turn)),
    )
    dataset = SemanticKITTI(tmp_path, ["00"])
    tr = np.vstack([np.array(layouts.VELO).reshape(3, 4), [0, 0, 0, 1]])
    moved = np.vstack([np.array(turn).reshape(3, 4), [0, 0, 0, 1]])
    landmark = np.array([[12.0, 3.0, 1.0]])
    # camera 0 of the second scan sees it at moved^-1 tr landmark, its LiDAR at tr^-1 of that
    later = move(inverse(tr), move(inverse(moved), move(tr, landmark)))
    np.testing.assert_allclose(move(dataset[1].to_world, later), landmark, atol=1e-4)


def test_camera_uses_tr_alone(root):
    scan = SemanticKITTI(root, ["00"], cameras=("image_2", "image_2"))[0]
    camera = scan.cameras[0]
    at = move(compose(scan.to_ego, inverse(camera.to_ego)), np.array([[10.0, 2.0, -1.0]]))
    tr = np.array(layouts.VELO).reshape(3, 4)
    u, v, w = np.array(layouts.P2).reshape(3, 4) @ [*(tr @ [10, 2, -1, 1]), 1]
    pixel = at @ camera.intrinsics.T
    np.testing.assert_allclose(pixel[0, :2] / pixel[0, 2], [u / w + 0.5, v / w + 0.5], atol=1e-3)
    assert camera.key == "sequences/00/image_2/000000"
    assert camera.size == (370, 1226)
    np.testing.assert_array_equal(camera.ego_to_world, scan.ego_to_world)


def test_root_may_be_above_the_data_set_folder(tmp_path):
    layouts.semantic_kitti(tmp_path / "dataset", ("08",))
    assert len(SemanticKITTI(tmp_path, "val")) == 2


def test_drive_without_poses_and_times(root):
    drive = root / "sequences/08"
    for name in ("poses.txt", "times.txt", "calib.txt"):
        (drive / name).unlink()
    scan = SemanticKITTI(root, "val")[0]
    assert scan.ego_to_world is None
    assert scan.timestamp is None
    with pytest.raises(UsageError, match=r"08/calib\.txt: No such file"):
        SemanticKITTI(root, "val", cameras=("image_2",))


def test_poses_without_their_calibration_are_refused(root):
    (root / "sequences/08/calib.txt").unlink()
    with pytest.raises(UsageError, match=r"08/calib\.txt: No such file"):
        SemanticKITTI(root, "val")


def test_other_data_in_the_layout_brings_its_classes(root):
    drive = root / "sequences/08"
    for n in range(2):
        points = layouts.cloud(n)
        points[:, 3] *= 255
        layouts.put(drive / f"velodyne/{n:06d}.bin", points)
        layouts.put(drive / f"labels/{n:06d}.label", np.resize(np.array([0, 1, 10], "u4"), 200))
    dataset = SemanticKITTI(
        root,
        "val",
        classes=("road", "rest"),
        learning_map={0: 0, 1: 1, 10: 255},
        intensity_top=255,
    )
    assert dataset[0].label[:3].tolist() == [0, 1, 255]
    assert dataset.classes == ("road", "rest")
    assert dataset.palette.shape == (2, 3)
    assert 0.9 < dataset[0].intensity.max() <= 1
    with pytest.raises(UnreadableFileError, match="intensity from"):
        SemanticKITTI(root, "val", labels=False)[0]
    with pytest.raises(UsageError, match="both of them"):
        SemanticKITTI(root, "val", classes=("road",))
    with pytest.raises(UsageError, match=r"holds \{3: 2\}"):
        SemanticKITTI(root, "val", classes=("a", "b"), learning_map={0: 0, 3: 2})


def test_labels_can_be_left_out(root):
    for path in (root / "sequences/08/labels").iterdir():
        path.unlink()
    scan = SemanticKITTI(root, "val", labels=False)[0]
    assert scan.label is None
    assert scan.instance is None
    with pytest.raises(UsageError, match=r"holds no \.label file"):
        SemanticKITTI(root, "val")
    (root / "sequences/08/labels").rmdir()
    with pytest.raises(UsageError, match=r"labels does not exist.*\n.*\n.*labels=False"):
        SemanticKITTI(root, "val")


def test_missing_drives_and_labels_are_found_before_training(root):
    with pytest.raises(UsageError, match=r"drive 01; there are 00, 08"):
        SemanticKITTI(root, "train")
    with pytest.raises(UsageError, match="one of train, val, trainval, test"):
        SemanticKITTI(root, "08")
    with pytest.raises(UsageError, match="each once"):
        SemanticKITTI(root, ["00", "00"])
    (root / "sequences/00/labels/000001.label").unlink()
    with pytest.raises(UsageError, match=r"lacks 000001\.label and 0 more"):
        SemanticKITTI(root, ["00"])


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("poses.txt", "1 0 0 0 0 1 0 0 0 0 1 0\n", "1 poses for 2 scans"),
        ("poses.txt", "1 0 0 0 0 1 0 0 0 0 1 x\n", "line 1: could not convert"),
        ("poses.txt", "1 0 0 0 0 1 0 0 0 0 1\n", "line 1: .* is not 12 finite numbers"),
        ("poses.txt", "1 0 0 0 0 1 0 0 0 0 2 0\n" * 2, "line 1 must be a rotation"),
        ("poses.txt", "1 0 0 0 0 1 0 0 0 0 1 nan\n" * 2, "not 12 finite numbers"),
        ("times.txt", "0.0\n0.1\n0.2\n", "3 times for 2 scans"),
        ("calib.txt", layouts.line("P2", layouts.P2), "it has no Tr_velo_to_cam, only P2"),
    ],
)
def test_what_concerns_a_drive_is_found_before_training(root, file, content, message):
    path = layouts.put(root / "sequences/08" / file, content)
    if file == "calib.txt":
        message = "it has no R0_rect, only P2"
    with pytest.raises(UsageError, match=message) as error:
        SemanticKITTI(root, "val", on_error="skip")
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("labels/000000.label", np.zeros(199, np.uint32), "199 labels for a scan of 200 points"),
        ("labels/000000.label", np.zeros(7, np.uint8), "7 bytes are no multiple of the 4"),
        ("labels/000000.label", np.full(200, 17, np.uint32), "raw label id 17 of 200 points"),
        ("labels/000000.label", np.full(200, 999, np.uint32), "raw label id 999 of 200 points"),
        ("velodyne/000000.bin", np.zeros(0, np.uint8), "empty"),
        ("velodyne/000000.bin", np.zeros(10, np.uint8), "10 bytes are no multiple"),
    ],
)
def test_bad_file_is_named_and_can_be_skipped(root, file, content, message):
    path = layouts.put(root / "sequences/08" / file, content)
    with pytest.raises(UnreadableFileError, match=message) as error:
        SemanticKITTI(root, "val")[0]
    assert str(path) in str(error.value)
    skipping = SemanticKITTI(root, "val", on_error="skip")
    assert skipping[0].source == 1
    assert skipping.skipped == ["08/000000"]


def test_check_counts_the_labels(root):
    report = SemanticKITTI(root, ["00", "08"]).check()
    assert sum(report.labelled.values()) + report.ignored == 4 * 200
    assert "4 of 19 classes occur" in str(report)


def test_fingerprint_changes_with_the_data_and_the_settings(root):
    first = SemanticKITTI(root, "val").fingerprint()
    assert SemanticKITTI(root, "val").fingerprint() == first
    others = [
        SemanticKITTI(root, ["00"]),
        SemanticKITTI(root, "val", labels=False),
        SemanticKITTI(root, "val", cameras=("image_2",)),
        SemanticKITTI(root, "val", intensity_top=255),
        SemanticKITTI(root, "val", classes=("a",), learning_map={0: 0}),
    ]
    assert first not in [dataset.fingerprint() for dataset in others]
