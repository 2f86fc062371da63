from dataclasses import replace

import numpy as np
import pytest

from densecl.errors import UsageError
from pointcl.data.scan import Scan
from pointcl.sensors import (
    Camera,
    Occlusion,
    Reason,
    compose,
    inverse,
    move,
    pose_from_quaternion,
    project,
    project_points,
    scan_to_camera,
    unproject,
)

OPTICAL = np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]])
"""Camera (right, down, forward) -> vehicle (forward, left, up)."""


def yaw(degrees, shift):
    half = np.radians(degrees) / 2
    return pose_from_quaternion((np.cos(half), 0, 0, np.sin(half)), shift)


def blank(size=(900, 1600)):
    return lambda: np.zeros((*size, 3), np.uint8)


def random_pose(random, reach=1.0):
    q = random.normal(size=4)
    return pose_from_quaternion(q / np.linalg.norm(q), random.normal(size=3) * reach)


def ahead(n=400, **camera_fields):
    """A cloud all around the vehicle, and a camera that looks along its x axis."""
    random = np.random.default_rng(0)
    points = random.uniform((-40, -40, -3), (40, 40, 6), (n, 3)).astype(np.float32)
    fields = {"intrinsics": np.array([[1000.0, 0, 800], [0, 1010, 450], [0, 0, 1]])}
    camera = Camera(
        "front",
        blank(),
        (900, 1600),
        to_ego=yaw(3, (1.5, 0.1, 1.5)) @ OPTICAL,
        **{**fields, **camera_fields},
    )
    scan = Scan(points, 0, "s", to_ego=yaw(-90, (1, 0, 1.8)), cameras=(camera,))
    return scan, camera


def worked_example():
    scan = Scan(
        np.array([[0.5, 10, 0]], np.float32),
        0,
        "s",
        to_ego=yaw(-90, (1, 0, 1.8)),
        ego_to_world=yaw(90, (100, 200, 0)),
    )
    camera = Camera(
        "front",
        blank(),
        (900, 1600),
        np.array([[1000.0, 0, 800], [0, 1000, 450], [0, 0, 1]]),
        to_ego=yaw(0, (1.5, 0, 1.5)) @ OPTICAL,
        ego_to_world=yaw(90, (100, 200.5, 0)),
    )
    return scan, camera


def test_the_chain_of_the_worked_example():
    scan, camera = worked_example()
    local = move(scan_to_camera(scan, camera), scan.points)
    np.testing.assert_allclose(local, [[0.5, -0.3, 9.0]], atol=1e-9)
    seen = project(scan, camera)
    np.testing.assert_allclose(seen.pixel, [[800 + 500 / 9, 450 - 300 / 9]], atol=1e-6)
    np.testing.assert_allclose(seen.depth, [9.0], atol=1e-9)
    assert seen.ego_motion
    assert seen.counts()["kept"] == 1


def test_without_ego_motion_the_worked_example_comes_out_wrong():
    scan, camera = worked_example()
    right = project(scan, camera).pixel
    for wrong in (
        project(scan, camera, ego_motion=False),
        project(replace(scan, ego_to_world=None), camera),
        project(scan, replace(camera, ego_to_world=None)),
    ):
        assert not wrong.ego_motion
        np.testing.assert_allclose(wrong.depth, [9.5], atol=1e-9)
        # half a metre of driving moves this point by 3.4 pixels
        assert np.linalg.norm(wrong.pixel - right) > 3


def test_chain_agrees_with_one_point_at_a_time():
    random = np.random.default_rng(1)
    # city coordinates: float32 anywhere in the chain would cost decimetres
    world = random_pose(random, 1e6)
    scan = Scan(
        random.normal(size=(30, 3)).astype(np.float32) * 20,
        0,
        "s",
        to_ego=random_pose(random),
        ego_to_world=world,
    )
    camera = Camera(
        "c",
        blank(),
        (900, 1600),
        np.array([[900.0, 2.0, 810], [0, 950, 440], [0, 0, 1]]),
        random_pose(random),
        world @ random_pose(random),
    )
    seen = project(scan, camera)
    assert 5 < (seen.depth > 0).sum() < 25
    for n, point in enumerate(scan.points.astype(np.float64)):
        for pose in (scan.to_ego, scan.ego_to_world):
            point = pose[:3, :3] @ point + pose[:3, 3]
        for pose in (camera.ego_to_world, camera.to_ego):
            point = pose[:3, :3].T @ (point - pose[:3, 3])
        # 1e6 m in float64 is exact to 1e-10, and the poses are applied in another order
        assert seen.depth[n] == pytest.approx(point[2], abs=1e-7)
        if point[2] <= 0:
            assert np.isnan(seen.pixel[n]).all()
            continue
        u, v, w = camera.intrinsics @ point
        np.testing.assert_allclose(seen.pixel[n], [u / w, v / w], rtol=1e-6)


def test_every_point_has_the_reason_that_holds_for_it():
    scan, camera = ahead(4000)
    mask = np.zeros((900, 1600), bool)
    mask[700:] = True
    camera = replace(camera, ego_mask=mask)
    scan.points[:3] = [[np.nan, 0, 0], [0, np.inf, 0], [-np.inf, np.inf, np.nan]]
    seen = project(scan, camera, near=8.0, border=20.0)
    for n in range(len(scan)):
        x, y = seen.pixel[n]
        if not np.isfinite(scan.points[n]).all():
            expected = Reason.NOT_FINITE
        elif seen.depth[n] <= 0:
            expected = Reason.BEHIND
        elif seen.depth[n] <= 8:
            expected = Reason.TOO_NEAR
        elif not (20 <= x < 1580 and 20 <= y < 880):
            expected = Reason.OUT_OF_FRAME
        elif y >= 700:
            expected = Reason.EGO_MASK
        else:
            expected = Reason.KEPT
        assert seen.reason[n] == expected
    counts = seen.counts()
    assert sum(counts.values()) == len(scan) == len(seen)
    assert list(counts) == [
        "kept",
        "not_finite",
        "time_gap",
        "behind",
        "too_near",
        "out_of_frame",
        "ego_mask",
        "occluded",
    ]
    assert counts["not_finite"] == 3
    assert min(count for name, count in counts.items() if name not in ("time_gap", "occluded")) > 0
    assert np.array_equal(seen.kept, seen.reason == 0)


def test_pixels_count_from_the_corner_of_the_picture():
    # a camera whose picture is 4 x 2 pixels wide, one unit each at depth 2
    camera = Camera("c", blank((2, 4)), (2, 4), np.diag([2.0, 2.0, 1.0]), np.eye(4))
    points = np.array([[0, 0, 2], [-1e-9, 0, 2], [4 - 1e-9, 2 - 1e-9, 2], [4, 1, 2], [0.5, 0.5, 2]])
    seen = project_points(points, camera, to_ego=np.eye(4))
    assert seen.kept.tolist() == [True, False, True, False, True]
    assert seen.pixel[4].tolist() == [0.5, 0.5]
    # half a pixel of border: the rule 0 < u < W - 1 of centres that are whole numbers
    seen = project_points(points, camera, to_ego=np.eye(4), border=0.5)
    assert seen.kept.tolist() == [False, False, False, False, True]


def test_order_of_points_does_not_matter():
    scan, camera = ahead(2000)
    order = np.random.default_rng(3).permutation(len(scan))
    options = {"occlusion": Occlusion(along=2.0, across=6.0)}
    seen = project(scan, camera, **options)
    moved = project(replace(scan, points=scan.points[order]), camera, **options)
    assert seen.counts()["occluded"] > 5
    assert np.array_equal(moved.reason, seen.reason[order])
    # BLAS may sum in another order at the end of a block
    np.testing.assert_allclose(moved.pixel, seen.pixel[order], rtol=1e-12)


@pytest.mark.parametrize(
    "distortion", [None, (-0.1, 0.02, 1e-3, -1e-3), (0.05, 0.01, 0, 0, 0.01, 0.02, 0.0, 0.0)]
)
def test_pixels_and_depths_lead_back_to_the_points(distortion):
    skewed = np.array([[1000.0, 5, 800], [0, 1010, 450], [0, 0, 1]])
    scan, camera = ahead(distortion=distortion, intrinsics=skewed)
    seen = project(scan, camera)
    local = unproject(seen.pixel[seen.kept], seen.depth[seen.kept], camera)
    back = move(inverse(scan_to_camera(scan, camera)), local)
    assert seen.kept.sum() > 20
    # a micrometre at 40 m
    np.testing.assert_allclose(back, scan.points[seen.kept], atol=1e-6)


def test_a_lens_moves_pixels_and_its_guard_drops_what_folds_back():
    model = (-0.34, 0.0225, 0.0, 0.0)
    camera = Camera(
        "c", blank(), (900, 1600), np.array([[600.0, 0, 800], [0, 600, 450], [0, 0, 1]]), np.eye(4)
    )
    # 63 degrees off the axis, where the polynomial is 0 again
    points = np.array([[20.0, 0, 10.0], [3.0, 0, 10.0]])
    seen = project_points(points, replace(camera, distortion=model), to_ego=np.eye(4))
    assert seen.reason.tolist() == [Reason.OUT_OF_FRAME, Reason.KEPT]
    assert np.isnan(seen.pixel[0]).all()
    radial = 1 - 0.34 * 0.3**2 + 0.0225 * 0.3**4
    assert seen.pixel[1].tolist() == pytest.approx([800 + 600 * 0.3 * radial, 450])


def test_time_gap_counts_from_the_firing_of_each_point():
    scan, camera = ahead(400, timestamp=5.02)
    scan.timestamp = 5.0
    assert project(scan, camera, max_gap=0.03).counts()["time_gap"] == 0
    assert project(scan, camera, max_gap=0.01).counts()["time_gap"] == 400
    scan.time = np.linspace(0, 0.1, 400, dtype=np.float32)
    scan.points[0] = np.nan
    seen = project(scan, camera, max_gap=0.03)
    late = np.abs(scan.time - 0.02) > 0.03
    late[0] = False
    assert np.array_equal(seen.reason == Reason.TIME_GAP, late)
    assert seen.reason[0] == Reason.NOT_FINITE


def test_time_gap_needs_both_clocks():
    scan, camera = ahead()
    with pytest.raises(UsageError, match="timestamps of both"):
        project(scan, camera, max_gap=0.1)


def two_in_a_row(**camera_fields):
    """A point at 5 m and one behind it at 30 m."""
    k = np.array([[1000.0, 0, 800], [0, 1000, 450], [0, 0, 1]])
    camera = Camera("c", blank(), (900, 1600), k, np.eye(4), **camera_fields)
    return np.array([[0, 0, 5.0], [0, 0, 30.0]], np.float32), camera


def test_points_of_another_time_hide_nothing():
    points, camera = two_in_a_row(timestamp=0.0)
    scan = Scan(points, 0, "s", timestamp=0.0, time=np.array([0.5, 0.0], np.float32))
    seen = project(scan, camera, occlusion=Occlusion())
    assert seen.reason.tolist() == [Reason.KEPT, Reason.OCCLUDED]
    seen = project(scan, camera, occlusion=Occlusion(), max_gap=0.1)
    assert seen.reason.tolist() == [Reason.TIME_GAP, Reason.KEPT]


def test_hidden_behind_rings_that_the_camera_sees_twice_as_far_apart():
    # the LiDAR 3 m behind the camera, two of its rings on a screen 3 m in front of it
    _, camera = two_in_a_row()
    behind = np.eye(4)
    behind[2, 3] = -3.0
    x = np.linspace(-0.3, 0.3, 31)
    up = 6 * np.tan(np.radians(1.33 / 2))
    rings = [np.stack([x, 0 * x + side * up, 0 * x + 6], 1) for side in (-1, 1)]
    points = np.concatenate([*rings, [[0.0, 0.0, 30.0]]])
    seen = project_points(points, camera, to_ego=behind, occlusion=Occlusion(0.33, 1.33))
    assert seen.counts()["occluded"] == 1
    assert seen.reason[-1] == Reason.OCCLUDED


def test_what_the_vehicle_covers_is_not_counted_as_occluded():
    points, camera = two_in_a_row(ego_mask=np.ones((900, 1600), bool))
    seen = project_points(points, camera, to_ego=np.eye(4), occlusion=Occlusion())
    assert seen.counts()["ego_mask"] == 2


@pytest.mark.parametrize("n", [0, 50])
def test_empty_clouds_and_clouds_behind(n):
    scan, camera = ahead(n)
    if n:
        scan.points = move(
            inverse(scan_to_camera(scan, camera)), -np.abs(scan.points[:, [1, 2, 0]]) - 0.1
        ).astype(np.float32)
    seen = project(scan, camera, occlusion=Occlusion())
    assert seen.counts()["behind"] == n
    assert seen.pixel.shape == (n, 2)
    assert seen.pixel.dtype == seen.depth.dtype == np.float64
    assert seen.reason.dtype == np.int8
    assert np.isnan(seen.pixel).all()


def test_says_whether_points_were_compensated():
    scan, camera = ahead()
    assert project(scan, camera).compensated
    assert not project(replace(scan, compensated=False), camera).compensated


def test_impossible_options_are_refused():
    scan, camera = ahead()
    for options in ({"near": 0.0}, {"border": -1.0}, {"border": 450.0}, {"near": np.nan}):
        with pytest.raises(ValueError, match="near"):
            project(scan, camera, **options)
    bad = np.array([[1000.0, 0, 800], [0, 1000, 450], [0, 0, 2]])
    with pytest.raises(ValueError, match="triangular"):
        project(scan, replace(camera, intrinsics=bad))


def test_compose_order_is_that_of_the_journey():
    scan, camera = worked_example()
    steps = compose(
        scan.to_ego, scan.ego_to_world, inverse(camera.ego_to_world), inverse(camera.to_ego)
    )
    np.testing.assert_allclose(scan_to_camera(scan, camera), steps, atol=1e-12)
