"""Real sweeps and pictures, where ``DENSECL_TEST_DATA`` names them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from densecl.weights.reader import read_weights
from pointcl.data.scan import Scan
from pointcl.sensors import Camera, Occlusion, compose, inverse, project, project_points


def folder(name: str) -> Path:
    root = os.environ.get("DENSECL_TEST_DATA")
    path = Path(root) / name if root else None
    if path is None or not path.is_dir():
        pytest.skip(f"DENSECL_TEST_DATA names no folder with {name}")
    return path


def rigid(matrix) -> np.ndarray:
    """The nearest rotation: the file's are of single precision."""
    pose = np.array(matrix, np.float64)
    u, _, v = np.linalg.svd(pose[:3, :3])
    pose[:3, :3] = u @ v
    return pose


def six_cameras() -> tuple[Scan, dict]:
    """One key frame. The vehicle's pose at each picture is hidden in ``lidar2cam``."""
    root = folder("mmdet3d_demo/nuscenes")
    info = read_weights(next(root.glob("*.pkl"))).data["data_list"][0]
    to_ego, world = rigid(info["lidar_points"]["lidar2ego"]), rigid(info["ego2global"])
    cameras = []
    for name, entry in info["images"].items():
        k = np.array(entry["cam2img"], np.float64)
        k[:2, 2] += 0.5
        cam_to_ego = rigid(entry["cam2ego"])
        cam_to_lidar = inverse(rigid(entry["lidar2cam"]))
        pose = compose(inverse(cam_to_ego), cam_to_lidar, to_ego, world)
        cameras.append(
            Camera(
                name,
                next(root.glob(f"*__{name}__*")),
                (900, 1600),
                k,
                cam_to_ego,
                pose,
                entry["timestamp"],
            )
        )
    points = np.fromfile(next(root.glob("*.pcd.bin")), np.float32).reshape(-1, 5)[:, :3]
    scan = Scan(
        points,
        0,
        "key frame",
        to_ego=to_ego,
        ego_to_world=world,
        timestamp=info["timestamp"],
        cameras=tuple(cameras),
    )
    return scan, info


def test_six_cameras_see_plausible_shares_of_a_sweep():
    scan, _ = six_cameras()
    seen = [project(scan, camera, occlusion=Occlusion(0.33, 1.33)) for camera in scan.cameras]
    for projection in seen:
        counts = projection.counts()
        assert sum(counts.values()) == len(scan)
        assert 0.07 < counts["kept"] / len(scan) < 0.16
        # the cameras sit within a metre of the sensor: few points are hidden, but some are
        assert 0.005 < counts["occluded"] / (counts["kept"] + counts["occluded"]) < 0.03
        assert projection.ego_motion
    times = np.sum([projection.kept for projection in seen], 0)
    assert 0.55 < (times > 0).mean() < 0.75
    assert 0.01 < (times > 1).mean() < 0.1


def test_boxes_fall_on_the_pixels_that_their_annotation_names():
    scan, info = six_cameras()
    centre = np.array([box["bbox_3d"][:3] for box in info["instances"]])
    matched = 0
    for camera in scan.cameras:
        seen = project_points(centre, camera, to_ego=scan.to_ego, ego_to_world=scan.ego_to_world)
        for box in info["cam_instances"][camera.name]:
            off = np.linalg.norm(seen.pixel - (np.array(box["center_2d"]) + 0.5), axis=1)
            # the annotation is of single precision
            assert np.nanmin(off) < 0.02
            matched += 1
    assert matched > 80


def test_leaving_the_vehicles_motion_out_shows():
    scan, _ = six_cameras()
    shift = {}
    for camera in scan.cameras:
        right, wrong = project(scan, camera), project(scan, camera, ego_motion=False)
        both = right.kept & wrong.kept
        shift[camera.name] = np.median(
            np.linalg.norm(right.pixel[both] - wrong.pixel[both], axis=1)
        )
    assert shift["CAM_FRONT_LEFT"] > 20  # 0.4 m at 43 ms
    assert shift["CAM_BACK_LEFT"] < 2  # taken half a millisecond after the sweep


def test_a_forward_camera_without_poses():
    root = folder("kitti_raw78")
    lines = (line.split(":") for line in (root / "calib.txt").read_text().splitlines())
    calibration = {name: np.array(values.split(), float) for name, values in lines}
    p2 = calibration["P2"].reshape(3, 4)
    k = p2[:, :3].copy()
    k[:2, 2] += 0.5
    rectify, velo, offset = np.eye(4), np.eye(4), np.eye(4)
    rectify[:3, :3] = calibration["R0_rect"].reshape(3, 3)
    velo[:3] = calibration["Tr_velo_to_cam"].reshape(3, 4)
    offset[:3, 3] = np.linalg.inv(p2[:, :3]) @ p2[:, 3]
    to_camera = rigid(compose(velo, rectify, offset))
    camera = Camera(
        "image_02", root / "image_02/000000.jpg", (375, 1242), k, to_ego=inverse(to_camera)
    )
    with np.load(root / "velodyne/000000.npz") as data:
        scan = Scan(data["xyz"].astype(np.float32) * data["scale"], 0, "000000")
    seen = project(scan, camera, occlusion=Occlusion(0.18, 0.45))
    counts = seen.counts()
    assert not seen.ego_motion
    assert 0.1 < counts["kept"] / len(scan) < 0.2
    assert 0.01 < counts["occluded"] / counts["kept"] < 0.04
