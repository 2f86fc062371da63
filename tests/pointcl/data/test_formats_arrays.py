"""numpy's files: plain, structured and archives."""

import numpy as np
import pytest

from densecl.data.decode import UnreadableFileError
from densecl.errors import UsageError
from pointcl.data.formats import read_cloud


@pytest.fixture
def xyz():
    return np.random.default_rng(0).normal(0, 5, (50, 3)).astype(np.float32)


def test_three_and_four_columns_need_no_word(tmp_path, xyz):
    np.save(tmp_path / "a.npy", xyz)
    np.testing.assert_array_equal(read_cloud(tmp_path / "a.npy").points, xyz)
    intensity = np.linspace(0, 1, 50, dtype=np.float32)
    np.save(tmp_path / "b.npy", np.column_stack([xyz, intensity]))
    np.testing.assert_array_equal(read_cloud(tmp_path / "b.npy").intensity, intensity)


def test_six_columns_do(tmp_path, xyz):
    np.save(tmp_path / "a.npy", np.hstack([xyz, np.full((50, 3), 128)]))
    with pytest.raises(UsageError, match=r"a\.npy: its array has 6 columns"):
        read_cloud(tmp_path / "a.npy")
    assert (read_cloud(tmp_path / "a.npy", "xyzrgb").colour == 128).all()
    with pytest.raises(UnreadableFileError, match=r"6 columns, data\.columns 4"):
        read_cloud(tmp_path / "a.npy", "xyzi")


def test_structured_arrays_are_read_by_name(tmp_path, xyz):
    kinds = [("x", "f4"), ("y", "f4"), ("z", "f4"), ("reflectivity", "u1"), ("range", "u4")]
    rows = np.zeros(50, kinds)
    rows["x"], rows["y"], rows["z"] = xyz.T
    rows["reflectivity"] = np.arange(50) * 5
    np.save(tmp_path / "a.npy", rows)
    cloud = read_cloud(tmp_path / "a.npy")
    np.testing.assert_array_equal(cloud.points, xyz)
    np.testing.assert_array_equal(cloud.intensity, rows["reflectivity"] / np.float32(255))
    assert cloud.unused == ("range",)
    # the meaning of a name can be given, and a name taken away
    cloud = read_cloud(tmp_path / "a.npy", {"range": "intensity"})
    assert cloud.unused == ("reflectivity",)
    assert (cloud.intensity == 0).all()
    with pytest.raises(UsageError, match="no field 'rnage'"):
        read_cloud(tmp_path / "a.npy", {"rnage": "intensity"})
    with pytest.raises(UsageError, match="'distance' is no meaning"):
        read_cloud(tmp_path / "a.npy", {"range": "distance"})


@pytest.mark.parametrize("key", ["xyz", "points", "coord"])
def test_archives_are_read_by_name(tmp_path, xyz, key):
    rng = np.random.default_rng(1)
    colour, label = rng.integers(0, 256, (50, 3), np.uint8), rng.integers(-1, 20, 50)
    np.savez(tmp_path / "a.npz", **{key: xyz, "color": colour, "segment": label, "date": 7})
    cloud = read_cloud(tmp_path / "a.npz")
    np.testing.assert_array_equal(cloud.points, xyz)
    np.testing.assert_array_equal(cloud.colour, colour)
    np.testing.assert_array_equal(cloud.label, label)
    assert cloud.unused == ("date",)
    # what columns mean in files of another format is no matter here
    np.testing.assert_array_equal(read_cloud(tmp_path / "a.npz", "xyzi").points, xyz)
    np.testing.assert_array_equal(read_cloud(tmp_path / "a.npz", "yxz").points, xyz[:, [1, 0, 2]])


def test_organised_and_quantised_archives_are_rows_in_metres(tmp_path):
    rng = np.random.default_rng(2)
    steps = rng.integers(-20000, 20000, (4, 10, 3)).astype(np.int16)
    intensity = rng.integers(0, 256, (4, 10), np.uint8)
    np.savez(tmp_path / "a.npz", xyz=steps, scale=np.float32(0.005), intensity=intensity)
    cloud = read_cloud(tmp_path / "a.npz")
    # a tenth of a step of 5 mm
    np.testing.assert_allclose(cloud.points, steps.reshape(-1, 3) * 0.005, atol=5e-4)
    np.testing.assert_array_equal(cloud.intensity, intensity.ravel() / np.float32(255))


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"xyz": np.zeros((5, 3)), "label": np.zeros(4, int)}, "label of shape .4,. for 5 points"),
        ({"xyz": np.zeros((5, 3)), "rgb": np.zeros((4, 3))}, "rgb of shape .* for 5 points"),
        ({"xyz": np.zeros((5, 3)), "label": np.full(5, 0.5)}, "label that is no whole number"),
        ({"xyz": np.zeros((0, 3))}, "it has no points"),
        ({"colour": np.zeros((5, 3))}, "no points .* it has colour"),
        ({"xyz": np.zeros((3, 500))}, r"\(3, 500\); a row is a point"),
        ({"xyz": np.zeros((5, 3)), "rgb": np.full((5, 3), -1.0)}, "colours from -1 to"),
        ({"xyz": np.zeros((5, 3)), "rgb": np.full((5, 3), np.nan)}, "not finite"),
    ],
)
def test_bad_archives_say_what_is_wrong(tmp_path, arrays, reason):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(UnreadableFileError, match=rf"a\.npz: .*{reason}"):
        read_cloud(tmp_path / "a.npz")


@pytest.mark.parametrize("ending", ["npy", "npz"])
def test_truncated_files_are_named(tmp_path, xyz, ending):
    path = tmp_path / f"a.{ending}"
    (np.save if ending == "npy" else np.savez)(path, xyz)
    data = path.read_bytes()
    for kept in (0, 5, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:kept])
        with pytest.raises(UnreadableFileError, match=rf"a\.{ending}: "):
            read_cloud(path)


def test_objects_are_not_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(UnreadableFileError, match="allow_pickle=False"):
        read_cloud(tmp_path / "a.npy")


def test_colours_keep_their_eight_bits_whatever_the_type(tmp_path, xyz):
    colour = np.random.default_rng(3).integers(0, 256, (50, 3))
    stored = (
        colour.astype(np.uint8),
        colour.astype(np.int64),
        colour.astype(np.float32),
        (colour / 255).astype(np.float32),
        (colour * 257).astype(np.uint16),
    )
    for values in stored:
        np.savez(tmp_path / "a.npz", xyz=xyz, rgb=values)
        np.testing.assert_array_equal(read_cloud(tmp_path / "a.npz").colour, colour)


def test_normals_have_unit_length(tmp_path, xyz):
    normal = xyz / np.linalg.norm(xyz, axis=1, keepdims=True)
    normal[3] = 0
    for factor in (1, 5):
        np.savez(tmp_path / "a.npz", xyz=xyz, normal=normal * factor)
        read = read_cloud(tmp_path / "a.npz").normal
        np.testing.assert_allclose(read, normal, atol=1e-6)
    np.savez(tmp_path / "a.npz", xyz=xyz, normal=normal)
    np.testing.assert_array_equal(read_cloud(tmp_path / "a.npz").normal, normal)
