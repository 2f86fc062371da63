"""Real clouds and frames, from the folder that ``DENSECL_TEST_DATA`` names."""

import os
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from densecl.errors import UsageError
from pointcl.data import RGBDFrames, ScanFolder
from pointcl.sensors import move


def data(name):
    root = os.environ.get("DENSECL_TEST_DATA")
    if not root or not (Path(root) / name).is_dir():
        pytest.skip(f"DENSECL_TEST_DATA names no folder with {name}")
    return Path(root) / name


def test_overlapping_frames_of_7scenes_coincide_in_the_world():
    dataset = RGBDFrames(data("rgbd_7scenes"), "7scenes", pixel_step=2, max_depth=4)
    first, later = dataset[0], dataset[5]
    clouds = []
    for scan in (first, later):
        finite = scan.points[np.isfinite(scan.points).all(1)]
        clouds.append((move(scan.to_world, finite), finite))
    (world_a, own_a), (world_b, own_b) = clouds
    apart = np.median(cKDTree(own_b).query(own_a[::20])[0])
    together = np.median(cKDTree(world_b).query(world_a[::20])[0])
    # the sensor's grain at 2 m is about 1 cm; the camera has moved by much more
    assert together < 0.01 < 0.04 < apart


def test_real_float_rows_are_recognised_or_asked_about():
    demo = data("mmdet3d_demo")
    assert ScanFolder(demo / "kitti")[0].ring is None
    assert ScanFolder(demo / "nuscenes", intensity_scale=255)[0].ring.max() == 31
    for name in ("scannet", "sunrgbd"):
        with pytest.raises(UsageError, match="what its columns are is not clear"):
            ScanFolder(demo / name)
        scan = ScanFolder(demo / name, columns="xyzrgb")[0]
        assert np.ptp(scan.points, axis=0).max() < 15
        assert scan.colour.std() > 20


def test_organised_sweeps_are_rows_in_metres():
    dataset = ScanFolder(
        data("lidar_rangeseg") / "semantic_kitti",
        intensity_scale=100,
        classes=[str(k) for k in range(20)],
        zero_is_missing=True,
    )
    scan = dataset[0]
    away = np.linalg.norm(scan.points, axis=1)
    assert 0 < np.isnan(away).mean() < 0.5
    assert np.nanmax(away) < 120
    assert len(np.unique(scan.label)) > 5
