"""Polygon files written by plyfile."""

import numpy as np
import pytest

from densecl.data.decode import UnreadableFileError
from densecl.errors import UsageError
from pointcl.data.formats import read_cloud
from pointcl.data.formats.ply import read_vertices

plyfile = pytest.importorskip("plyfile")


def write(path, vertices, text=False, byte_order="<", faces=False):
    elements = [plyfile.PlyElement.describe(vertices, "vertex")]
    if faces:
        face = np.array([([0, 1, 2],)], [("vertex_indices", "i4", (3,))])
        elements.append(plyfile.PlyElement.describe(face, "face"))
    plyfile.PlyData(elements, text=text, byte_order=byte_order).write(str(path))


def vertices(count=40, extra=()):
    kinds = [("x", "f4"), ("y", "f4"), ("z", "f4")]
    kinds += [("red", "u1"), ("green", "u1"), ("blue", "u1")]
    kinds += [("nx", "f4"), ("ny", "f4"), ("nz", "f4"), ("scalar_Intensity", "f4"), *extra]
    rng = np.random.default_rng(0)
    rows = np.zeros(count, kinds)
    for name in ("x", "y", "z"):
        rows[name] = rng.normal(0, 5, count)
    for name in ("red", "green", "blue"):
        rows[name] = rng.integers(0, 256, count)
    rows["nz"] = 1
    rows["scalar_Intensity"] = rng.uniform(0, 1, count)
    return rows


@pytest.mark.parametrize(("text", "order"), [(True, "<"), (False, "<"), (False, ">")])
def test_vertices_come_back_bit_for_bit(tmp_path, text, order):
    rows = vertices(extra=[("label", "i4"), ("curvature", "f4")])
    rows["label"] = np.arange(40) % 5
    write(tmp_path / "a.ply", rows, text, order, faces=True)
    cloud = read_cloud(tmp_path / "a.ply")
    np.testing.assert_array_equal(cloud.points, np.stack([rows[a] for a in "xyz"], 1))
    colour = np.stack([rows[a] for a in ("red", "green", "blue")], 1)
    np.testing.assert_array_equal(cloud.colour, colour)
    np.testing.assert_array_equal(cloud.intensity, rows["scalar_Intensity"])
    np.testing.assert_array_equal(cloud.normal, np.tile([0, 0, 1], (40, 1)))
    np.testing.assert_array_equal(cloud.label, rows["label"])
    assert cloud.unused == ("curvature",)
    assert len(read_vertices(tmp_path / "a.ply")) == 40
    assert cloud.points.dtype == np.float32
    assert cloud.colour.dtype == np.uint8


@pytest.mark.parametrize("text", [True, False])
def test_truncated_files_are_named(tmp_path, text):
    path = tmp_path / "a.ply"
    write(path, vertices(), text)
    data = path.read_bytes()
    # of a text, whole words must be missing: half a number is a number too
    for kept in (0, 3, 60, len(data) // 2, len(data) - (150 if text else 1)):
        path.write_bytes(data[:kept])
        with pytest.raises(UnreadableFileError, match=r"a\.ply: "):
            read_cloud(path)


def test_files_without_vertices_are_named(tmp_path):
    write(tmp_path / "a.ply", vertices(0))
    with pytest.raises(UnreadableFileError, match=r"a\.ply: a PLY file without vertices"):
        read_cloud(tmp_path / "a.ply")
    face = np.array([([0, 1, 2],)], [("vertex_indices", "i4", (3,))])
    plyfile.PlyData([plyfile.PlyElement.describe(face, "face")]).write(str(tmp_path / "b.ply"))
    with pytest.raises(UnreadableFileError, match=r"b\.ply: a PLY file without vertices"):
        read_cloud(tmp_path / "b.ply")
    np.save(tmp_path / "c.npy", np.zeros(3))
    (tmp_path / "c.npy").rename(tmp_path / "c.ply")
    with pytest.raises(UnreadableFileError, match=r"c\.ply: not a whole PLY file"):
        read_cloud(tmp_path / "c.ply")


def test_vertices_behind_other_elements_or_with_lists_are_read(tmp_path):
    camera = np.ones(2, [("fov", "f4")])
    rows = np.array([([1, 2], 3.0, 4.0, 5.0)], [("v", "O"), ("x", "f4"), ("y", "f4"), ("z", "f4")])
    elements = [
        plyfile.PlyElement.describe(camera, "camera"),
        plyfile.PlyElement.describe(rows, "vertex", val_types={"v": "i4"}),
    ]
    for text in (True, False):
        plyfile.PlyData(elements, text=text).write(str(tmp_path / "a.ply"))
        assert read_cloud(tmp_path / "a.ply").points.tolist() == [[3, 4, 5]]


def test_missing_axis_lists_what_is_there(tmp_path):
    rows = np.zeros(3, [("x", "f4"), ("y", "f4"), ("height", "f4")])
    write(tmp_path / "a.ply", rows)
    with pytest.raises(UnreadableFileError, match="no field 'z'; it has x, y, height"):
        read_cloud(tmp_path / "a.ply")
    assert len(read_cloud(tmp_path / "a.ply", {"height": "z"})) == 3


def test_two_fields_of_one_meaning_are_asked_about(tmp_path):
    write(tmp_path / "a.ply", vertices(extra=[("reflectance", "f4")]))
    with pytest.raises(UsageError, match="'scalar_Intensity' and 'reflectance' both mean"):
        read_cloud(tmp_path / "a.ply")
    cloud = read_cloud(tmp_path / "a.ply", {"reflectance": "intensity"})
    assert (cloud.intensity == 0).all()


def test_double_coordinates_far_away_keep_their_millimetres(tmp_path):
    rng = np.random.default_rng(1)
    rows = np.zeros(1000, [("x", "f8"), ("y", "f8"), ("z", "f8")])
    rows["x"] = 691234.567 + rng.uniform(0, 400, 1000)
    rows["y"] = 5335678.901 + rng.uniform(0, 400, 1000)
    rows["z"] = 519.25 + rng.uniform(0, 60, 1000)
    write(tmp_path / "a.ply", rows)
    cloud = read_cloud(tmp_path / "a.ply")
    back = cloud.points.astype(np.float64) + cloud.offset
    for axis, name in enumerate("xyz"):
        # float32 between 512 and 1024 m, where the heights are, is exact to half of 2^-14 m
        np.testing.assert_allclose(back[:, axis], rows[name], rtol=0, atol=3.1e-5)
    assert (cloud.offset == np.floor(cloud.offset)).all()
    assert cloud.offset[2] == 0  # heights are as they were
