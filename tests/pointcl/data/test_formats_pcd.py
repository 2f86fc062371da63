"""PCD files, written by hand and by pypcd4."""

import numpy as np
import pytest

from densecl.data.decode import UnreadableFileError
from pointcl.data.formats import read_cloud

KINDS = [("x", "f4"), ("y", "f4"), ("z", "f4"), ("rgb", "f4"), ("label", "u2")]


def cloud(count=30):
    rng = np.random.default_rng(0)
    rows = np.zeros(count, KINDS)
    for name in "xyz":
        rows[name] = rng.normal(0, 5, count)
    colour = rng.integers(0, 256, (count, 3))
    rows["rgb"] = (colour @ [1 << 16, 1 << 8, 1]).astype(np.uint32).view(np.float32)
    rows["label"] = rng.integers(0, 9, count)
    return rows, colour


def header(data, count, fields="x y z rgb label", size="4 4 4 4 2", kind="F F F F U", more=""):
    return (
        f"# .PCD v0.7\nVERSION 0.7\nFIELDS {fields}\nSIZE {size}\nTYPE {kind}\n{more}"
        f"WIDTH {count}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {count}\nDATA {data}\n"
    ).encode()


def check(read, rows, colour):
    np.testing.assert_array_equal(read.points, np.stack([rows[a] for a in "xyz"], 1))
    np.testing.assert_array_equal(read.colour, colour)
    np.testing.assert_array_equal(read.label, rows["label"])


def test_binary_rows_come_back_bit_for_bit(tmp_path):
    rows, colour = cloud()
    (tmp_path / "a.pcd").write_bytes(header("binary", 30) + rows.tobytes())
    check(read_cloud(tmp_path / "a.pcd"), rows, colour)


def test_text_rows_come_back_bit_for_bit(tmp_path):
    rows, colour = cloud()
    # packed colours as whole numbers, and blanks as PCL's own files have them
    lines = [
        f"{x!r}\t{y!r}  {z!r} {r << 16 | g << 8 | b} {label}"
        for (x, y, z, _, label), (r, g, b) in zip(rows.tolist(), colour.tolist(), strict=True)
    ]
    text = header("ascii", 30, kind="F F F U U") + "\n".join(lines).encode()
    (tmp_path / "a.pcd").write_bytes(text)
    check(read_cloud(tmp_path / "a.pcd"), rows, colour)


@pytest.mark.parametrize("encoding", ["ascii", "binary", "binary_compressed"])
def test_files_of_pypcd4_are_read(tmp_path, encoding):
    pypcd4 = pytest.importorskip("pypcd4")
    rng = np.random.default_rng(1)
    points = rng.normal(0, 5, (500, 4)).astype(np.float32)
    points[:, 3] = np.linspace(0, 1, 500)
    points[7, :3] = np.nan
    pypcd4.PointCloud.from_xyzi_points(points).save(tmp_path / "a.pcd", pypcd4.Encoding(encoding))
    read = read_cloud(tmp_path / "a.pcd")
    # pypcd4 writes text with ten digits
    tolerance = {"atol": 1e-6 if encoding == "ascii" else 0, "rtol": 0}
    np.testing.assert_allclose(read.points, points[:, :3], **tolerance)
    np.testing.assert_allclose(read.intensity, points[:, 3], **tolerance)


def test_padding_and_fields_of_several_values_are_left_out(tmp_path):
    kinds = [("x", "f4"), ("y", "f4"), ("z", "f4"), ("p", "u1", 4), ("hist", "f4", 3)]
    rows = np.zeros(5, [*kinds, ("intensity", "u1")])
    rows["z"], rows["intensity"] = np.arange(5), np.arange(5) * 51
    head = header(
        "binary",
        5,
        "x y z _ histogram intensity",
        "4 4 4 1 4 1",
        "F F F U F U",
        "COUNT 1 1 1 4 3 1\n",
    )
    (tmp_path / "a.pcd").write_bytes(head + rows.tobytes())
    read = read_cloud(tmp_path / "a.pcd")
    np.testing.assert_array_equal(read.points[:, 2], np.arange(5))
    np.testing.assert_allclose(read.intensity, np.arange(5) / 5, atol=1e-7)


@pytest.mark.parametrize("encoding", ["ascii", "binary", "binary_compressed"])
def test_truncated_files_are_named(tmp_path, encoding):
    pypcd4 = pytest.importorskip("pypcd4")
    points = np.random.default_rng(2).normal(0, 5, (200, 3)).astype(np.float32)
    path = tmp_path / "a.pcd"
    pypcd4.PointCloud.from_xyz_points(points).save(path, pypcd4.Encoding(encoding))
    data = path.read_bytes()
    body = data.index(b"\n", data.index(b"DATA")) + 1
    for kept in (0, 3, 90, body, body + 7, (body + len(data)) // 2, len(data) - 20):
        path.write_bytes(data[:kept])
        with pytest.raises(UnreadableFileError, match=r"a\.pcd: "):
            read_cloud(path)


def test_damaged_headers_are_named(tmp_path):
    rows, _ = cloud()
    path = tmp_path / "a.pcd"
    for head, reason in (
        (header("binary", 30).replace(b"SIZE 4 4 4 4 2\n", b""), "SIZE"),
        (header("binary", 30, size="4 4 4 4"), "damaged PCD header"),
        (header("binary", 30, kind="F F F F Q"), "damaged PCD header"),
        (header("binary", 30, fields="x y z rgb"), "damaged PCD header"),
        (header("zipped", 30), "'zipped' is no encoding"),
    ):
        path.write_bytes(head + rows.tobytes())
        with pytest.raises(UnreadableFileError, match=reason):
            read_cloud(path)
    (tmp_path / "b.pcd").write_bytes(header("ascii", 1, "x y z", "4 4 4", "F F F") + b"1 2 north")
    with pytest.raises(UnreadableFileError, match=r"b\.pcd: field 'z': .*north"):
        read_cloud(tmp_path / "b.pcd")
