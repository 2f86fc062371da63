from __future__ import annotations

import numpy as np
import pytest
import scan_layouts as layouts

from densecl.data.decode import UnreadableFileError
from densecl.errors import UsageError
from pointcl.data import NuScenes
from pointcl.data import nuscenes_json as tables
from pointcl.data.nuscenes_classes import CATEGORIES, CLASSES, VAL
from pointcl.sensors.pose import compose, inverse, move

MINI = "v1.0-mini"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return layouts.nuscenes(tmp_path_factory.mktemp("nuscenes"))


@pytest.fixture
def own(tmp_path):
    """A copy to damage."""
    return layouts.nuscenes(tmp_path, {"scene-0061": 2})


def camera_chain(scan, camera):
    return compose(
        scan.to_ego, scan.ego_to_world, inverse(camera.ego_to_world), inverse(camera.to_ego)
    )


def test_published_numbers_of_the_chain_from_point_to_pixel(root):
    """The vehicle moves half a metre between sweep and picture."""
    scan = NuScenes(root, MINI)[0]
    camera = scan.cameras[0]
    at = move(camera_chain(scan, camera), scan.points[:1])
    np.testing.assert_allclose(at, [[0.5, -0.3, 9.0]], atol=1e-6)
    pixel = at @ camera.intrinsics.T
    pixel = pixel[:, :2] / pixel[:, 2:]
    # nuScenes counts from the centre of the first pixel, this library from its corner
    np.testing.assert_allclose(pixel - 0.5, [[855.556, 416.667]], atol=1e-3)
    still = compose(scan.to_ego, inverse(camera.to_ego))
    assert abs(move(still, scan.points[:1])[0, 2] - 9.5) < 1e-6


def test_scan_is_the_file(root):
    dataset = NuScenes(root, MINI)
    scan = dataset[0]
    values = np.fromfile(root / scan.name, np.float32).reshape(-1, 5)
    assert np.array_equal(scan.points, values[:, :3])
    np.testing.assert_allclose(scan.intensity, values[:, 3] / 255, rtol=1e-6)
    assert scan.intensity.max() <= 1
    assert np.array_equal(scan.ring, values[:, 4].astype(int))
    assert scan.timestamp == pytest.approx(1.5e9, abs=1e-6)
    assert (scan.sequence, scan.source) == ("scene-0061", 0)
    assert scan.label is None
    assert scan.time is None
    assert dataset.classes == ()


def test_key_frames_follow_their_scenes_chain(root):
    dataset = NuScenes(root, MINI)
    assert dataset.sequences == ["scene-0061", "scene-0061", "scene-0103"]
    assert dataset.name(1) == "samples/LIDAR_TOP/scene-0061__1.pcd.bin"
    np.testing.assert_allclose(dataset[1].ego_to_world[:3, 3], [100, 200.5, 0])


def test_chain_decides_the_order_not_the_table(tmp_path):
    layouts.nuscenes(tmp_path, {"scene-0061": 3}, sample=lambda rows: rows[::-1])
    assert [NuScenes(tmp_path, MINI).name(i)[-9] for i in range(3)] == ["0", "1", "2"]


def test_each_camera_has_its_name_place_and_time(root):
    scan = NuScenes(root, MINI)[0]
    assert [camera.name for camera in scan.cameras] == [f"CAM_{n}" for n in layouts.CAMERAS]
    for camera in scan.cameras:
        assert camera.size == (900, 1600)
        assert camera.timestamp - scan.timestamp == pytest.approx(0.5, abs=1e-5)
        forward = camera.to_ego[:3, :3] @ [0, 0, 1]
        turn = np.radians(layouts.TURNS[camera.name[4:]])
        np.testing.assert_allclose(forward, [np.cos(turn), np.sin(turn), 0], atol=1e-9)
        assert camera.key == f"samples/{camera.name}/scene-0061__0"
        assert np.array_equal(camera.intrinsics, [[1000, 0, 800.5], [0, 1000, 450.5], [0, 0, 1]])
    assert scan.cameras[0].image().shape == (900, 1600, 3)


def test_cameras_can_be_chosen_in_any_order(root):
    scan = NuScenes(root, MINI, cameras=("CAM_BACK", "CAM_FRONT"))[0]
    assert [camera.name for camera in scan.cameras] == ["CAM_BACK", "CAM_FRONT"]
    assert NuScenes(root, MINI, cameras=())[0].cameras == ()


def test_every_camera_sees_points(root):
    report = NuScenes(root, MINI, labels="lidarseg16").check()
    assert set(report.seen) == {f"CAM_{name}" for name in layouts.CAMERAS}
    assert min(report.seen.values()) > 0
    assert report.labelled["car"] == 3 * 25
    assert report.ignored == 3 * 50


def test_lidarseg_ids_become_the_sixteen_classes(root):
    dataset = NuScenes(root, MINI, labels="lidarseg16")
    assert len(dataset.classes) == 16
    assert dataset.palette.shape == (16, 3)
    # raw ids 17, 24, 0, 30, 2, 6, 31, 9 in turn
    names = ["car", "driveable_surface", None, "vegetation", "pedestrian", "pedestrian", None]
    expected = [255 if n is None else CLASSES.index(n) for n in [*names, "barrier"]]
    assert dataset[0].label[:8].tolist() == expected
    assert dataset[0].label.dtype == np.int64


def test_all_32_ids_are_mapped_as_published():
    """SLidR's table, whose classes start at 1 and whose 0 is ignored here."""
    published = {9: 1, 14: 2, 15: 3, 16: 3, 17: 4, 18: 5, 21: 6, 2: 7, 3: 7, 4: 7, 6: 7, 12: 8}
    published |= {22: 9, 23: 10, 24: 11, 25: 12, 26: 13, 27: 14, 28: 15, 30: 16}
    from pointcl.data.nuscenes_classes import CLASS_OF

    found = {CATEGORIES.index(name): label + 1 for name, label in CLASS_OF.items()}
    assert found == published
    assert len(CATEGORIES) == len(set(CATEGORIES)) == 32


def test_category_table_with_another_order_is_refused(tmp_path):
    def swapped(rows):
        return [row | {"index": {24: 26}.get(row["index"], row["index"])} for row in rows]

    layouts.nuscenes(tmp_path, {"scene-0061": 1}, category=swapped)
    NuScenes(tmp_path, MINI)
    with pytest.raises(UsageError, match=r"flat\.driveable_surface the index 26"):
        NuScenes(tmp_path, MINI, labels="lidarseg16")


def test_category_table_without_an_index_is_taken_as_it_is(tmp_path):
    def plain(rows):
        return [{key: row[key] for key in ("token", "name")} for row in rows]

    layouts.nuscenes(tmp_path, {"scene-0061": 1}, category=plain)
    assert NuScenes(tmp_path, MINI, labels="lidarseg16")[0].label[0] == CLASSES.index("car")


def test_boxes_come_from_the_world_to_the_lidar(root):
    boxes = NuScenes(root, MINI)[0].boxes
    # 20 m north of a vehicle that heads north, so 19 m before a LiDAR one metre ahead of it;
    # its heading is 30 degrees to the left of the vehicle's, and the LiDAR's y is forward
    np.testing.assert_allclose(boxes.centre, [[0, 19, -0.8]], atol=1e-9)
    np.testing.assert_allclose(boxes.yaw, [np.radians(120)], atol=1e-9)
    np.testing.assert_array_equal(boxes.extent, [[4.0, 2.0, 1.5]])
    assert boxes.label == ["vehicle.car"]


def test_object_keeps_its_id_over_time(root):
    dataset = NuScenes(root, MINI)
    ids = [int(dataset[i].boxes.instance[0]) for i in range(3)]
    assert ids[0] == ids[1] != ids[2]


def test_version_without_annotations_has_no_boxes(tmp_path):
    layouts.nuscenes(tmp_path, {"scene-0061": 1}, sample_annotation=lambda rows: [])
    assert NuScenes(tmp_path, MINI)[0].boxes is None


def test_sweeps_are_moved_to_the_key_frame(root):
    dataset = NuScenes(root, MINI, sweeps=2, labels="lidarseg16")
    scan = dataset[1]
    assert len(scan) == 200 + 50 + 200
    # driving along the LiDAR's y at 1 m/s: what was seen earlier lies further back
    for rows, before in ((slice(200, 250), 0.25), (slice(250, 450), 0.5)):
        there = scan.points[:50] if rows.stop == 250 else scan.points[:200]
        np.testing.assert_allclose(scan.points[rows], there - [0, before, 0], atol=1e-4)
        np.testing.assert_allclose(scan.time[rows], -before, atol=1e-6)
        assert (scan.label[rows] == 255).all()
    assert (scan.time[:200] == 0).all()
    assert (scan.label[:200] != 255).any()
    assert len(scan.ring) == len(scan.intensity) == 450


def test_sweeps_of_a_turning_vehicle(tmp_path):
    """Against plain matrices: 90 degrees at first, 40 degrees further with every metre."""

    def turning(rows):
        return [
            row | {"rotation": layouts.about_z(90 + 40 * (row["translation"][1] - 200))}
            for row in rows
        ]

    layouts.nuscenes(tmp_path, {"scene-0061": 2}, ego_pose=turning)
    scan = NuScenes(tmp_path, MINI, sweeps=1, cameras=())[1]

    def lidar_to_world(moved):
        c, s = np.cos(np.radians(90 + 40 * moved)), np.sin(np.radians(90 + 40 * moved))
        ego = np.array([[c, -s, 0, 100], [s, c, 0, 200 + moved], [0, 0, 1, 0], [0, 0, 0, 1]])
        return ego @ np.array([[0, 1, 0, 1], [-1, 0, 0, 0], [0, 0, 1, 1.8], [0, 0, 0, 1]])

    there = np.hstack([scan.points[:50], np.ones((50, 1))])
    expected = there @ (np.linalg.inv(lidar_to_world(0.5)) @ lidar_to_world(0.25)).T
    np.testing.assert_allclose(scan.points[200:], expected[:, :3], atol=1e-4)


def test_scene_that_has_just_begun_has_fewer_sweeps(root):
    dataset = NuScenes(root, MINI, sweeps=5)
    assert [len(dataset[i]) for i in range(3)] == [200, 450, 200]


def test_scenes_are_chosen_by_list_file_or_split(root, tmp_path):
    listed = layouts.put(tmp_path / "list.txt", "scene-0103\n")
    for choice in (
        {"scenes": ["scene-0103"]},
        {"scenes": str(listed)},
        {"split": "mini_val"},
    ):
        assert NuScenes(root, MINI, **choice).sequences == ["scene-0103"]
    assert NuScenes(root, MINI, split="mini_train").sequences == ["scene-0061"] * 2
    with pytest.raises(UsageError, match="'scene-9999'"):
        NuScenes(root, MINI, scenes=["scene-9999"])
    with pytest.raises(UsageError, match="split='val' with"):
        NuScenes(root, MINI, split="val")
    with pytest.raises(UsageError, match="needed: one of train, val"):
        NuScenes(root, MINI, split="nope")
    with pytest.raises(UsageError, match="one of them"):
        NuScenes(root, MINI, split="mini_val", scenes=["scene-0103"])


def test_validation_split_is_the_published_one(tmp_path):
    assert len(VAL) == 150
    assert {"scene-0003", "scene-0553", "scene-1073", "scene-0916"} <= VAL
    assert not {"scene-0061", "scene-0632x", "scene-0918", "scene-0628"} & VAL
    layouts.nuscenes(tmp_path, {"scene-0061": 1, "scene-0103": 1}, version="v1.0-trainval")
    assert NuScenes(tmp_path, split="val").sequences == ["scene-0103"]
    assert NuScenes(tmp_path, split="train").sequences == ["scene-0061"]


def test_bad_options_are_refused(root):
    with pytest.raises(UsageError, match=r"v1\.0-nope does not exist"):
        NuScenes(root, "v1.0-nope")
    with pytest.raises(UsageError, match=r"data\.labels='16'"):
        NuScenes(root, MINI, labels="16")
    with pytest.raises(UsageError, match="CAM_TOP"):
        NuScenes(root, MINI, cameras=("CAM_TOP",))
    with pytest.raises(UsageError, match="sweeps"):
        NuScenes(root, MINI, sweeps=-1)


@pytest.mark.parametrize(
    ("table", "change", "message"),
    [
        ("sample", lambda rows: rows[:1], r"no sample scene-0061/1 that scene-0061 leads to"),
        ("sample", lambda rows: [r | {"next": rows[0]["token"]} for r in rows], "or leads to twi"),
        ("sample", lambda rows: [{"token": "a"}], r"sample\.json, row 0 has no next, scene_token"),
        ("sample", lambda rows: ["a"], r"sample\.json, row 0 has no token, next, scene_token"),
        (
            "sample_data",
            lambda rows: [r for r in rows if "CAM_BACK__" not in r["filename"].replace("/", "__")],
            "no key frame of CAM_BACK for the sample scene-0061/0",
        ),
        (
            "sample_data",
            lambda rows: [r | {"height": 0} for r in rows],
            r"samples/CAM_FRONT/scene-0061__0\.jpg has no height",
        ),
        ("ego_pose", lambda rows: rows[1:], r"ego_pose\.json: 1 poses are missing or none"),
        (
            "ego_pose",
            lambda rows: [r | {"rotation": [1, 1, 0, 0]} for r in rows],
            r"ego_pose\.json: 14 poses are missing or none",
        ),
        (
            "calibrated_sensor",
            lambda rows: [r | {"rotation": [2, 0, 0, 0]} for r in rows],
            r"calibrated_sensor\.json, LIDAR_TOP .* length 1",
        ),
        (
            "calibrated_sensor",
            lambda rows: [r | {"camera_intrinsic": []} for r in rows],
            r"calibrated_sensor\.json, CAM_FRONT",
        ),
        ("sensor", lambda rows: rows[:3], r"sensor\.json has no CAM_BACK"),
        ("instance", lambda rows: [], r"instance scene-0061/car is not in instance\.json"),
        ("lidarseg", lambda rows: rows[:1], "no labels of 1 key frames"),
        (
            "sample_annotation",
            lambda rows: [row | {"size": [1, 2]} for row in rows],
            r"sample_annotation\.json: 9 numbers for a box of scene-0061/0",
        ),
    ],
)
def test_broken_table_is_named_before_training(tmp_path, table, change, message):
    layouts.nuscenes(tmp_path, {"scene-0061": 2}, **{table: change})
    with pytest.raises(UsageError, match=message):
        NuScenes(tmp_path, MINI, labels="lidarseg16")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "does not exist"),
        ("{}", "is no table"),
        ("", "is no table"),
        ('[{"token": "a", "na', "damaged or cut off"),
        ('[{"token": "a", "name": "b", "first_sample_token": ""}', "damaged or cut off"),
        ('[{"token": }]', "damaged or cut off"),
    ],
)
def test_damaged_table_is_named(own, text, message):
    path = own / MINI / "scene.json"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(UsageError, match=message) as error:
        NuScenes(own, MINI)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_table_is_the_same_however_it_is_cut_into_windows(root, monkeypatch, chunk):
    import json

    whole = json.loads((root / MINI / "sample_data.json").read_text())
    monkeypatch.setattr(tables, "_CHUNK", chunk)
    assert list(tables.read_table(root / MINI, "sample_data", "token")) == whole


def test_empty_table_has_no_rows(tmp_path):
    layouts.put(tmp_path / "a.json", "[\n]")
    assert list(tables.read_table(tmp_path, "a")) == []


@pytest.mark.parametrize(
    ("folder", "content", "message"),
    [
        ("samples/LIDAR_TOP", b"", "empty"),
        ("samples/LIDAR_TOP", b"\0" * 42, "42 bytes are no multiple of the 20 of a row"),
        ("samples/LIDAR_TOP", np.full(5, np.nan, np.float32).tobytes(), "points: 1 of 1 rows"),
        ("samples/LIDAR_TOP", np.full(5, 300, np.float32).tobytes(), "intensity from 300 to 300"),
        (f"lidarseg/{MINI}", b"\0" * 199, "199 labels for a scan of 200 points"),
        (f"lidarseg/{MINI}", b"\x28" * 200, "raw label id 40 of 200 points"),
    ],
)
def test_bad_file_is_named_and_can_be_skipped(own, folder, content, message):
    path = sorted((own / folder).iterdir())[0]
    path.write_bytes(content)
    with pytest.raises(UnreadableFileError, match=message) as error:
        NuScenes(own, MINI, labels="lidarseg16")[0]
    assert str(path) in str(error.value)
    assert NuScenes(own, MINI, labels="lidarseg16", on_error="skip")[0].source == 1


def test_missing_files_are_named(own):
    next((own / "samples/CAM_BACK").iterdir()).unlink()
    with pytest.raises(UnreadableFileError, match=r"CAM_BACK/scene-0061__\d\.jpg: No such file"):
        NuScenes(own, MINI).check()
    (own / "samples/LIDAR_TOP/scene-0061__0.pcd.bin").unlink()
    with pytest.raises(UnreadableFileError, match=r"scene-0061__0\.pcd\.bin: No such file"):
        NuScenes(own, MINI)[0]


def test_picture_of_another_size_is_found_by_the_check(own):
    layouts.picture(own / "samples/CAM_BACK/scene-0061__0.jpg", (90, 160))
    with pytest.raises(UnreadableFileError, match=r"\(90, 160\).* \(900, 1600\)"):
        NuScenes(own, MINI).check()


def test_fingerprint_changes_with_the_data_and_the_settings(own):
    first = NuScenes(own, MINI).fingerprint()
    assert NuScenes(own, MINI).fingerprint() == first
    for change in ({"sweeps": 1}, {"cameras": ()}, {"labels": "lidarseg16"}, {"boxes": False}):
        assert NuScenes(own, MINI, **change).fingerprint() != first
    path = own / "samples/LIDAR_TOP/scene-0061__0.pcd.bin"
    path.write_bytes(path.read_bytes()[:200])
    assert NuScenes(own, MINI).fingerprint() != first
