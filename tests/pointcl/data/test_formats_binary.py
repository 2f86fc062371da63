"""Float32 rows: what is read back, and when the columns are clear."""

import numpy as np
import pytest

from densecl.data.decode import UnreadableFileError
from densecl.errors import UsageError
from pointcl.data.formats import read_cloud
from pointcl.data.formats.binary import infer_columns


def sweep(rng, count=4000, rings=False):
    """Points as a spinning sensor gives them, with intensity and maybe a ring."""
    azimuth = np.linspace(-np.pi, np.pi, count)
    distance = rng.uniform(3, 70, count)
    ring = rng.integers(0, 32, count)
    columns = [
        distance * np.cos(azimuth),
        distance * np.sin(azimuth),
        rng.normal(-1.5, 0.6, count),
        rng.uniform(0, 1, count),
    ]
    return np.stack([*columns, ring] if rings else columns, 1).astype(np.float32)


@pytest.mark.parametrize("rings", [False, True])
def test_kitti_and_nuscenes_rows_are_recognised_and_kept(tmp_path, rings):
    rows = sweep(np.random.default_rng(0), rings=rings)
    rows.tofile(tmp_path / "0.bin")
    cloud = read_cloud(tmp_path / "0.bin")
    np.testing.assert_array_equal(cloud.points, rows[:, :3])
    np.testing.assert_array_equal(cloud.intensity, rows[:, 3])
    assert (cloud.ring is not None) == rings
    if rings:
        np.testing.assert_array_equal(cloud.ring, rows[:, 4])


def test_five_columns_are_not_taken_for_four_where_both_fit(tmp_path):
    rows = sweep(np.random.default_rng(1), count=4000, rings=True)
    assert rows.size % 4 == 0
    rows.tofile(tmp_path / "0.bin")
    assert infer_columns(tmp_path / "0.bin")[-1] == "ring"


@pytest.mark.parametrize("width", [3, 6, 7, 8, 12])
def test_other_widths_are_asked_for(tmp_path, width):
    rng = np.random.default_rng(2)
    extra = rng.uniform(0, 255, (4200, width - 3))
    xyz = rng.uniform((0, 3, 9), (8, 11, 17), (4200, 3))
    rows = np.hstack([xyz, extra]).astype(np.float32)
    rows.tofile(tmp_path / "0.bin")
    with pytest.raises(UsageError, match=r"0\.bin: what its columns are is not clear") as error:
        read_cloud(tmp_path / "0.bin")
    assert "data.columns" in error.value.fix


def test_given_columns_are_taken(tmp_path):
    rng = np.random.default_rng(3)
    xyz = rng.uniform(-1, 1, (10, 3)).astype(np.float32)
    rgb = rng.integers(0, 256, (10, 3))
    np.hstack([rgb, np.full((10, 1), 7), xyz]).astype(np.float32).tofile(tmp_path / "0.bin")
    cloud = read_cloud(tmp_path / "0.bin", "rgb_xyz")
    np.testing.assert_array_equal(cloud.points, xyz)
    np.testing.assert_array_equal(cloud.colour, rgb)
    assert cloud.unused == ("column 3",)
    names = ["red", "g", "Blue", "ambient", "x", "y", "z"]
    np.testing.assert_array_equal(read_cloud(tmp_path / "0.bin", names).colour, rgb)


@pytest.mark.parametrize("columns", ["xyq", "xyi", "xyzii", ["x", "y"], ["x", "y", "z", "x"], ""])
def test_columns_without_sense_are_refused(tmp_path, columns):
    np.zeros((4, 4), np.float32).tofile(tmp_path / "0.bin")
    with pytest.raises(UsageError, match=r"data\.columns"):
        read_cloud(tmp_path / "0.bin", columns)


def test_truncated_and_empty_files_are_named(tmp_path):
    rows = sweep(np.random.default_rng(4))
    path = tmp_path / "0.bin"
    path.write_bytes(rows.tobytes()[:-3])
    with pytest.raises(UnreadableFileError, match=r"0\.bin: 63997 bytes are no whole number"):
        read_cloud(path, "xyzi")
    path.write_bytes(rows.tobytes()[:-4])
    with pytest.raises(UnreadableFileError, match=r"15999 float32 values .* rows of 4 columns"):
        read_cloud(path, "xyzi")
    path.write_bytes(b"")
    with pytest.raises(UnreadableFileError, match=r"0\.bin: the file is empty"):
        read_cloud(path)
    with pytest.raises(UnreadableFileError, match=r"1\.bin: No such file"):
        read_cloud(tmp_path / "1.bin")


def test_rows_that_are_not_finite_stay_in_place(tmp_path):
    rows = sweep(np.random.default_rng(5))
    rows[[0, 7]] = np.nan
    rows[9, 1] = np.inf
    rows.tofile(tmp_path / "0.bin")
    cloud = read_cloud(tmp_path / "0.bin")
    np.testing.assert_array_equal(cloud.points, rows[:, :3])
    rows[:] = np.nan
    rows.tofile(tmp_path / "0.bin")
    with pytest.raises(UnreadableFileError, match="none of its 4000 points is finite"):
        read_cloud(tmp_path / "0.bin", "xyzi")


def test_intensity_of_unknown_scale_is_asked_for(tmp_path):
    rows = sweep(np.random.default_rng(6))
    rows[:, 3] *= 200
    rows.tofile(tmp_path / "0.bin")
    with pytest.raises(UsageError, match=r"0\.bin: intensities from .* to 19\d") as error:
        read_cloud(tmp_path / "0.bin")
    assert "data.intensity_scale" in error.value.fix
    # cut at the scale, not stretched to it
    scaled = read_cloud(tmp_path / "0.bin", intensity_scale=100).intensity
    np.testing.assert_allclose(scaled, np.clip(rows[:, 3] / 100, 0, 1), rtol=1e-6)


def test_an_unknown_ending_is_refused(tmp_path):
    (tmp_path / "0.e57").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"0\.e57: no format of points ends in '\.e57'"):
        read_cloud(tmp_path / "0.e57")
