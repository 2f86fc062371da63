import numpy as np
import pytest

from pointcl.sensors import Camera, Occlusion, Reason, project_points
from pointcl.sensors.occlusion import _GROWTH

K = np.array([[500.0, 0, 400], [0, 500, 200], [0, 0, 1]])
SIZE = (400, 800)


def by_definition(test, pixel, depth, size, focal, growth):
    """One point after the other: is every gap-long window of its column covered by something?"""
    cell = np.maximum(1.0, np.asarray(focal) * np.radians(test.along) / 2)
    gap = focal[1] * np.radians(test.across) / cell[1]
    pad = int(np.ceil(gap * _GROWTH[-1])) + 1
    place = np.floor(pixel / cell).astype(int)
    high = np.ceil(np.array(size[::-1]) / cell) + pad
    on_map = [((at >= -pad) & (at < high)).all() for at in place]
    out = np.zeros(len(pixel), bool)
    for n, (column, row) in enumerate(place):
        if not on_map[n]:
            continue
        for low, factor in zip((0.0, *_GROWTH[:-1]), _GROWTH, strict=True):
            wide, reach = round(factor), int(np.ceil(gap * factor / 2))
            nearest = np.zeros(800)
            for m, (other_column, other_row) in enumerate(place):
                if on_map[m] and growth[m] > low and abs(other_column - column) <= wide:
                    nearest[other_row + 400] = max(nearest[other_row + 400], 1 / depth[m])
            covered = min(
                nearest[middle - reach + 400 : middle + reach + 401].max()
                for middle in range(row - reach, row + reach + 1)
            )
            if covered and depth[n] > 1 / covered * (1 + test.relative) + test.absolute:
                out[n] = True
    return out


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_the_definition_point_by_point(seed):
    random = np.random.default_rng(seed)
    n = 150
    pixel = random.uniform((-20, -20), (140, 100), (n, 2))
    # depths and margins that float32 inverse depths cannot tip over
    depth = random.choice([4.0, 7.0, 11.0, 20.0, 45.0], n)
    growth = random.uniform(0.8, 4.0, n)
    test = Occlusion(along=2.0, across=6.0)
    ours = test.hidden(pixel, depth, (80, 120), (150.0, 140.0), growth)
    expected = by_definition(test, pixel, depth, (80, 120), (150.0, 140.0), growth)
    inside = ((pixel >= 0) & (pixel < (120, 80))).all(1)
    assert 20 < expected[inside].sum() < inside.sum() - 20
    assert np.array_equal(ours[inside], expected[inside])


def sweep(along=0.33, across=1.33):
    """Directions of a sweep that runs forward (z) and a little down, one row per ring."""
    azimuth = np.radians(np.arange(-45, 45, along))
    elevation = np.radians(np.arange(-25, 11, across))
    a, e = np.meshgrid(azimuth, elevation)
    return np.stack([np.sin(a) * np.cos(e), -np.sin(e), np.cos(a) * np.cos(e)], -1).reshape(-1, 3)


def cast(rays, screen, wall):
    """First hit of rays from the origin on a screen (x0, x1, y0, y1, z) before a wall (z)."""
    x0, x1, y0, y1, z = screen
    at = rays / rays[:, 2:] * z
    hit = (at[:, 0] > x0) & (at[:, 0] < x1) & (at[:, 1] > y0) & (at[:, 1] < y1)
    return np.where(hit[:, None], at, rays / rays[:, 2:] * wall), hit


@pytest.mark.parametrize("left", [-2.0, 2.5])
@pytest.mark.parametrize("shift", [(0.8, 0.4, 0.0), (-0.9, 0.5, 0.6), (0.1, 0.9, -0.5)])
def test_two_planes_against_exact_visibility(shift, left):
    # the LiDAR at the origin, the camera at `shift` beside it; right, down, forward. The screen
    # stands in the middle of the picture or near its edge.
    screen, wall = (left, left + 4, -1.5, 1.5, 8.0), 20.0
    points, on_screen = cast(sweep(), screen, wall)
    to_ego = np.eye(4)
    to_ego[:3, 3] = shift
    camera = Camera("c", lambda: np.zeros((*SIZE, 3), np.uint8), SIZE, K, to_ego)
    seen = project_points(points, camera, to_ego=np.eye(4), occlusion=Occlusion(0.33, 1.33))
    line = points - shift
    at = shift + line * ((screen[4] - np.array(shift)[2]) / line[:, 2:])
    x0, x1, y0, y1, _ = screen
    inside = np.minimum(
        np.minimum(at[:, 0] - x0, x1 - at[:, 0]), np.minimum(at[:, 1] - y0, y1 - at[:, 1])
    )
    covered = (inside > 0) & ~on_screen
    in_frame = np.isin(seen.reason, [Reason.KEPT, Reason.OCCLUDED])
    found = seen.reason == Reason.OCCLUDED
    assert (covered & in_frame).sum() > 50
    # rings 0.19 m apart on the screen, and the steps along them, leave a band along its edge
    # open; outside of it the answer is exact
    deep = covered & in_frame & (inside > 0.2)
    assert deep.sum() > 25
    assert found[deep].all()
    assert not found[in_frame & (inside < -0.05)].any()
    assert not found[on_screen].any()
    # as a whole: most of what is hidden is found, and little else
    assert found[covered & in_frame].mean() > 0.75
    assert (found & ~covered).sum() < 0.15 * (covered & in_frame).sum()


def test_from_the_lidars_place_nothing_is_hidden():
    points, _ = cast(sweep(), (-2.0, 2.0, -1.5, 1.5, 8.0), 20.0)
    camera = Camera("c", lambda: np.zeros((*SIZE, 3), np.uint8), SIZE, K, np.eye(4))
    seen = project_points(points, camera, to_ego=np.eye(4), occlusion=Occlusion(0.33, 1.33))
    # but beside the edges of the screen, within one step along the ring and what the map rounds
    edge = np.abs(np.abs(points[:, 0] / points[:, 2]) - 2 / 8) * K[0, 0]
    hidden = seen.reason == Reason.OCCLUDED
    assert not hidden[edge > 2 * K[0, 0] * np.radians(0.33)].any()


@pytest.mark.parametrize("tilt", [0.0, 0.3])
@pytest.mark.parametrize("across", [0.43, 1.33])
def test_ground_and_side_walls_do_not_hide_themselves(across, tilt):
    # the ground 1.8 m below, a wall along the road 6 m to the right; the camera 0.5 m lower
    rays = sweep(across=across)
    reach = 1.8 / np.maximum(rays[:, 1] - tilt * rays[:, 0], 1e-3)
    side = 6.0 / np.maximum(rays[:, 0], 1e-3)
    points = rays * np.minimum(np.minimum(reach, side), 70.0)[:, None]
    points = points[np.linalg.norm(points, axis=1) < 60]
    to_ego = np.eye(4)
    to_ego[:3, 3] = (0.3, 0.5, 0.7)
    camera = Camera("c", lambda: np.zeros((*SIZE, 3), np.uint8), SIZE, K, to_ego)
    seen = project_points(points, camera, to_ego=np.eye(4), occlusion=Occlusion(0.33, across))
    assert seen.counts()["kept"] > 1000
    assert seen.counts()["occluded"] <= 0.002 * seen.counts()["kept"]


def test_gaps_look_larger_to_a_camera_that_is_nearer():
    # two rings of a screen 3 m from the camera and 6 m from the LiDAR: twice the angle
    gap = 500 * np.radians(1.33) * 2
    x = np.arange(350.0, 450, 4)
    near = np.concatenate([np.stack([x, 0 * x + 150], 1), np.stack([x, 0 * x + 150 + gap], 1)])
    pixel = np.concatenate([near, [[400.0, 150 + gap / 2]]])
    depth = np.append(np.full(len(near), 3.0), 30.0)
    growth = np.append(np.full(len(near), 2.0), 1.0)
    test = Occlusion(0.33, 1.33)
    assert test.hidden(pixel, depth, SIZE, (500.0, 500.0), growth)[-1]
    assert not test.hidden(pixel, depth, SIZE, (500.0, 500.0), None)[-1]


def test_the_margin_decides():
    pixel = np.full((2, 2), 100.0)
    test = Occlusion(relative=0.1, absolute=0.3)
    for far, hidden in ((11.25, False), (11.35, True)):
        ours = test.hidden(pixel, np.array([10.0, far]), SIZE, (500.0, 500.0))
        assert ours.tolist() == [False, hidden]


def test_what_is_just_outside_the_picture_hides_what_is_inside():
    gap = 500 * np.radians(1.4)
    pixel = np.array([[100.0, 2.0 - 0.6 * gap], [100.0, 2.0 + 0.3 * gap], [100.0, 2.0]])
    depth = np.array([5.0, 5.0, 30.0])
    assert Occlusion().hidden(pixel, depth, SIZE, (500.0, 500.0)).tolist() == [False, False, True]


def test_the_order_of_points_does_not_matter():
    random = np.random.default_rng(0)
    pixel = random.uniform((0, 0), (800, 400), (3000, 2))
    depth = random.uniform(2, 60, 3000)
    order = random.permutation(3000)
    test = Occlusion()
    hidden = test.hidden(pixel, depth, SIZE, (500.0, 500.0))
    assert 100 < hidden.sum() < 2900
    moved = test.hidden(pixel[order], depth[order], SIZE, (500.0, 500.0))
    assert np.array_equal(moved, hidden[order])


def test_no_points_and_points_without_a_pixel():
    test = Occlusion()
    none = test.hidden(np.zeros((0, 2)), np.zeros(0), SIZE, (500.0, 500.0))
    assert none.shape == (0,)
    pixel = np.array([[np.nan, np.nan], [1e9, -1e12], [10.0, 10.0]])
    assert not test.hidden(pixel, np.full(3, 5.0), SIZE, (500.0, 500.0)).any()


@pytest.mark.parametrize(
    "options",
    [{"along": 0.0}, {"along": 2.0, "across": 1.0}, {"across": 90.0}, {"relative": -0.1}],
)
def test_impossible_settings_are_refused(options):
    with pytest.raises(ValueError, match=r"degrees|margins"):
        Occlusion(**options)
