"""Surveys written by laspy."""

import numpy as np
import pytest

from densecl.data.decode import UnreadableFileError
from pointcl.data.formats import read_cloud

laspy = pytest.importorskip("laspy")


def survey(count=800, point_format=3):
    """Coordinates in UTM, whole millimetres, with what an airborne scanner adds."""
    header = laspy.LasHeader(point_format=point_format, version="1.2")
    header.scales, header.offsets = [0.001] * 3, [500000.0, 5400000.0, 0.0]
    rng = np.random.default_rng(0)
    las = laspy.LasData(header)
    las.x = 500123.0 + rng.integers(0, 800000, count) / 1000
    las.y = 5412345.0 + rng.integers(0, 800000, count) / 1000
    las.z = 412.0 + rng.integers(0, 80000, count) / 1000
    las.intensity = rng.integers(0, 65536, count)
    las.classification = rng.integers(0, 7, count)
    las.red, las.green, las.blue = rng.integers(0, 256, (3, count)) * 257
    return las


@pytest.mark.parametrize("ending", ["las", "laz"])
def test_utm_survives_float32_to_a_tenth_of_a_millimetre(tmp_path, ending):
    las = survey()
    las.write(tmp_path / f"a.{ending}")
    cloud = read_cloud(tmp_path / f"a.{ending}")
    back = cloud.points.astype(np.float64) + cloud.offset
    for axis, values in enumerate((las.x, las.y, las.z)):
        np.testing.assert_allclose(back[:, axis], values, rtol=0, atol=1e-4)
    assert (np.abs(cloud.points[:, :2]) < 1000).all()
    # without the offset, float32 would be half a metre off: what is guarded against
    assert np.abs(np.asarray(las.y).astype(np.float32) - np.asarray(las.y)).max() > 0.1


def test_intensity_colour_and_class_are_on_the_usual_scales(tmp_path):
    las = survey()
    las.write(tmp_path / "a.las")
    cloud = read_cloud(tmp_path / "a.las")
    intensity = np.asarray(las.intensity)
    np.testing.assert_array_equal(cloud.intensity, intensity / np.float32(65535))
    np.testing.assert_array_equal(cloud.colour[:, 0], np.asarray(las.red) // 257)
    np.testing.assert_array_equal(cloud.label, np.asarray(las.classification))
    assert "gps_time" in cloud.unused
    twelve = read_cloud(tmp_path / "a.las", intensity_scale=4095).intensity
    np.testing.assert_allclose(twelve, np.minimum(intensity / 4095, 1), rtol=1e-6)


def test_eight_bit_colours_in_sixteen_bits_are_seen(tmp_path):
    las = survey()
    las.red, las.green, las.blue = np.asarray([las.red, las.green, las.blue]) // 257
    las.write(tmp_path / "a.las")
    np.testing.assert_array_equal(read_cloud(tmp_path / "a.las").colour[:, 1], las.green)


@pytest.mark.parametrize("ending", ["las", "laz"])
def test_truncated_files_are_named(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    survey().write(path)
    data = path.read_bytes()
    for kept in (0, 100, 300, len(data) // 2, len(data) - 10):
        path.write_bytes(data[:kept])
        with pytest.raises(UnreadableFileError, match=rf"a\.{ending}: "):
            read_cloud(path)
    if ending == "las":
        path.write_bytes(data[: -10 * survey().point_format.size])  # whole points, but not all
        with pytest.raises(UnreadableFileError, match="truncated: 790 of 800 points"):
            read_cloud(path)
    path.write_bytes(b"x" * 1000)
    with pytest.raises(UnreadableFileError, match="not a whole LAS file"):
        read_cloud(path)
