"""Published samples, where ``DENSECL_TEST_DATA`` names them: do labels and sensors agree?"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import scan_layouts as layouts
from scipy.spatial.transform import Rotation

from densecl.weights.unpickle import RestrictedUnpickler
from pointcl.data import KITTI, Argoverse2, Boxes, KITTIRaw, NuScenes, SemanticKITTI
from pointcl.data.semantic_kitti import LEARNING_MAP
from pointcl.sensors.pose import compose, inverse, move


def folder(name: str) -> Path:
    root = os.environ.get("DENSECL_TEST_DATA")
    if not root or not (Path(root) / name).is_dir():
        pytest.skip(f"DENSECL_TEST_DATA names no folder with {name}")
    return Path(root) / name


def sweep(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """(N, 4) float32 of a packed sweep whose intensity counts hundredths, and what returned."""
    with np.load(file) as data:
        points = data["xyz"].reshape(-1, 3) * np.float32(data["scale"])
        intensity = data["intensity"].reshape(-1, 1) * np.float32(0.01)
    there = (points != 0).any(1)
    return np.hstack([points, intensity])[there].astype(np.float32), there


def pixels(scan, camera, points):
    chain = [scan.to_ego]
    if scan.ego_to_world is not None:
        chain += [scan.ego_to_world, inverse(camera.ego_to_world)]
    at = move(compose(*chain, inverse(camera.to_ego)), points)
    pixel = at @ camera.intrinsics.T
    return pixel[:, :2] / pixel[:, 2:]


def inside(boxes: Boxes, points: np.ndarray) -> list[int]:
    """Points in each box, others left aside."""
    counts = []
    for row in range(len(boxes)):
        one = slice(row, row + 1)
        alone = Boxes(boxes.centre[one], boxes.extent[one], boxes.yaw[one], [""], np.zeros(1))
        near = np.abs(points - boxes.centre[row]).max(1) < boxes.extent[row].max()
        counts.append(int((alone.contain(points[near]) == 0).sum()))
    return counts


def corners(boxes: Boxes, row: int) -> np.ndarray:
    half = boxes.extent[row] / 2
    local = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * half
    c, s = np.cos(boxes.yaw[row]), np.sin(boxes.yaw[row])
    return local @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]) + boxes.centre[row]


@pytest.fixture
def kitti(tmp_path):
    source = folder("kitti_object3")
    for name in ("image_2", "calib", "label_2"):
        shutil.copytree(source / name, tmp_path / "training" / name)
    for file in (source / "velodyne").iterdir():
        layouts.put(tmp_path / "training/velodyne" / f"{file.stem}.bin", sweep(file)[0])
    return tmp_path


def test_kitti_boxes_lie_on_their_rectangles_in_the_picture(kitti):
    dataset = KITTI(kitti)
    dataset.check()
    for index in range(len(dataset)):
        scan = dataset[index]
        lines = (kitti / "training/label_2" / f"{scan.name[-6:]}.txt").read_text().splitlines()
        drawn = [line.split() for line in lines if not line.startswith("DontCare")]
        for row, words in enumerate(drawn):
            at = pixels(scan, scan.cameras[0], corners(scan.boxes, row)) - 0.5
            found = np.concatenate([at.min(0), at.max(0)])
            size = np.array(scan.cameras[0].size)[[1, 0, 1, 0]]
            # rectangles end at the picture's edge; a walker's sides are drawn by hand
            difference = np.clip(found, 0, size - 1) - np.array(words[4:8], float)
            assert (np.abs(difference) < [12, 2, 12, 2]).all()
        assert min(inside(scan.boxes, scan.points)) > 5


def test_kitti_raw_drive_is_read_and_seen(tmp_path):
    source = folder("kitti_raw78")
    for number in (0, 5, 13):
        name = f"{number:06d}"
        target = tmp_path / "velodyne_points/data" / f"{number:010d}.bin"
        layouts.put(target, sweep(source / "velodyne" / f"{name}.npz")[0])
        image = next((source / "image_02").glob(f"{name}.*"))
        (tmp_path / "image_02/data").mkdir(parents=True, exist_ok=True)
        shutil.copy(image, tmp_path / "image_02/data" / f"{number:010d}{image.suffix}")
    shutil.copy(source / "calib.txt", tmp_path)
    report = KITTIRaw(tmp_path).check()
    assert len(report.points) == 3
    assert report.seen["image_02"] > 0.1


def test_semantic_kitti_labels_and_those_of_another_map(tmp_path):
    source = folder("lidar_rangeseg") / "semantic_kitti/train"
    raw_of = np.zeros(20, np.uint32)
    for raw, label in LEARNING_MAP.items():
        if label != 255 and raw_of[label + 1] == 0:
            raw_of[label + 1] = raw
    drive, other = tmp_path / "a/sequences/00", tmp_path / "b/sequences/00"
    for file in sorted(source.glob("*.npz"))[:3]:
        points, there = sweep(file)
        with np.load(file) as data:
            ids = data["label"].reshape(-1)[there].astype(np.uint32)
        for place, raw in ((drive, raw_of[ids]), (other, ids)):
            layouts.put(place / "velodyne" / f"{int(file.stem):06d}.bin", points)
            layouts.put(place / "labels" / f"{int(file.stem):06d}.label", raw)
    report = SemanticKITTI(tmp_path / "a", ["00"]).check(None)
    # a street: mostly road, vegetation and buildings
    share = {name: many / sum(report.points) for name, many in report.labelled.items()}
    assert share["road"] + share["vegetation"] + share["building"] > 0.4
    own = SemanticKITTI(
        tmp_path / "b",
        ["00"],
        classes=[f"class {n}" for n in range(1, 20)],
        learning_map={n: n - 1 if n else 255 for n in range(20)},
    ).check(None)
    assert list(own.labelled.values()) == list(report.labelled.values())


def test_argoverse_boxes_hold_the_points_that_were_counted():
    feather = pytest.importorskip("pyarrow.feather", reason="pyarrow is not installed")
    root = folder("av2_logs")
    dataset = Argoverse2(root, None, cameras=())
    scan = dataset[len(dataset) - 1]
    log, stamp = scan.name.split("/")
    table = feather.read_table(root / log / "annotations.feather")
    now = table["timestamp_ns"].to_numpy() == int(stamp)
    assert inside(scan.boxes, scan.points) == table["num_interior_pts"].to_numpy()[now].tolist()


def test_argoverse_walls_stand_still_in_the_world():
    """Two sweeps a tenth of a second apart agree better once the vehicle's motion is undone."""
    from scipy.spatial import cKDTree

    pytest.importorskip("pyarrow.feather", reason="pyarrow is not installed")
    dataset = Argoverse2(folder("av2_logs"), None, logs=["7fab2350"], cameras=())
    first, second = dataset[0], dataset[1]
    there = first.points[np.linalg.norm(first.points[:, :2], axis=1) < 60]
    moved = move(compose(second.to_world, inverse(first.to_world)), second.points)
    assert np.linalg.norm(second.ego_to_world[:3, 3] - first.ego_to_world[:3, 3]) > 0.01
    still = np.median(cKDTree(second.points).query(there)[0])
    assert np.median(cKDTree(moved).query(there)[0]) < still


def test_nuscenes_boxes_fall_on_their_published_pixels(tmp_path):
    """Tables are written from an mmdetection3d info file, whose 2D centres came by other code."""
    source = folder("mmdet3d_demo") / "nuscenes"
    with next(source.glob("*.pkl")).open("rb") as file:
        content = RestrictedUnpickler(file, None).load()
    info, names = content["data_list"][0], list(content["metainfo"]["categories"])
    write_nuscenes(tmp_path, source, info, names)
    dataset = NuScenes(tmp_path, "v1.0-mini")
    assert min(dataset.check().seen.values()) > 0.05
    scan = dataset[0]
    published = np.array([item["bbox_3d"] for item in info["instances"]])
    np.testing.assert_allclose(scan.boxes.centre, published[:, :3], atol=1e-4)
    np.testing.assert_allclose(scan.boxes.extent, published[:, 3:6])
    for camera in scan.cameras:
        assert camera.timestamp != scan.timestamp
        centres = pixels(scan, camera, scan.boxes.centre) - 0.5
        for item in info["cam_instances"][camera.name]:
            assert np.abs(centres - item["center_2d"]).max(1).min() < 0.01


def write_nuscenes(root: Path, source: Path, info: dict, names: list[str]) -> None:
    from pointcl.data.image_size import image_size

    def place(matrix: np.ndarray) -> dict[str, list[float]]:
        x, y, z, w = Rotation.from_matrix(matrix[:3, :3]).as_quat().tolist()
        return {"translation": matrix[:3, 3].tolist(), "rotation": [w, x, y, z]}

    names_of = ("scene", "sample", "sample_data", "ego_pose", "sensor", "calibrated_sensor")
    names_of += ("sample_annotation", "instance", "category")
    rows: dict[str, list[dict]] = {name: [] for name in names_of}
    rows["scene"] = [{"token": "s", "name": "scene-0103", "first_sample_token": "f"}]
    rows["sample"] = [{"token": "f", "next": "", "scene_token": "s"}]
    rows["category"] = [{"token": name, "name": name} for name in names]

    def add(channel, to_ego, ego, lens, file, seconds, size):
        rows["sensor"].append({"token": channel, "channel": channel})
        ids = {"token": channel, "sensor_token": channel, "camera_intrinsic": lens}
        rows["calibrated_sensor"].append(ids | place(to_ego))
        rows["ego_pose"].append({"token": channel} | place(ego))
        name = f"samples/{channel}/{file}"
        layouts.put(root / name, (source / file).read_bytes())
        tokens = ("token", "ego_pose_token", "calibrated_sensor_token")
        row = dict.fromkeys(tokens, channel) | {"sample_token": "f", "prev": ""}
        row |= {"timestamp": round(seconds * 1e6), "filename": name, "is_key_frame": True}
        rows["sample_data"].append(row | {"height": size[0], "width": size[1]})

    lidar, ego = info["lidar_points"], np.array(info["ego2global"])
    to_world = ego @ np.array(lidar["lidar2ego"])
    file = lidar["lidar_path"]
    add("LIDAR_TOP", np.array(lidar["lidar2ego"]), ego, [], file, info["timestamp"], (0, 0))
    for channel, item in info["images"].items():
        to_ego, from_lidar = np.array(item["cam2ego"]), np.array(item["lidar2cam"])
        ego_then = to_world @ np.linalg.inv(from_lidar) @ np.linalg.inv(to_ego)
        file = item["img_path"]
        size = image_size(source / file)
        add(channel, to_ego, ego_then, item["cam2img"], file, item["timestamp"], size)
    for number, item in enumerate(info["instances"]):
        box = np.eye(4)
        box[:3, :3] = Rotation.from_euler("z", item["bbox_3d"][6]).as_matrix()
        box[:3, 3] = item["bbox_3d"][:3]
        length, width, height = item["bbox_3d"][3:6]
        category = names[item["bbox_label"]]
        rows["instance"].append({"token": str(number), "category_token": category})
        ids = {"token": str(number), "sample_token": "f", "instance_token": str(number)}
        annotation = ids | {"size": [width, length, height]} | place(to_world @ box)
        rows["sample_annotation"].append(annotation)
    for name, content in rows.items():
        layouts.put(root / "v1.0-mini" / f"{name}.json", json.dumps(content))
