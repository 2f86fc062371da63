"""A .sens file written here, byte by byte, and read back."""

import struct

import numpy as np
import pytest
from recordings import rgbd

from densecl.data.decode import UnreadableFileError
from pointcl.data import SensFile


@pytest.mark.parametrize("codecs", [(0, 0), (1, 1)])
def test_frames_come_back_bit_for_bit(tmp_path, codecs):
    file = SensFile(rgbd.sens(tmp_path / "scene.sens", codecs=codecs))
    assert (len(file), file.sensor) == (4, "wallie")
    assert (file.depth_size, file.colour_size) == ((24, 32), (48, 64))
    assert file.depth_shift == 1000
    np.testing.assert_array_equal(file.depth_intrinsics, rgbd.intrinsics(1, 4).astype("f4"))
    np.testing.assert_array_equal(file.colour_intrinsics, rgbd.intrinsics(2, 4).astype("f4"))
    for frame in (3, 0):
        np.testing.assert_array_equal(file.depth(frame), rgbd.depth(frame, 1000))
        np.testing.assert_array_equal(file.colour(frame)[::2, ::2], rgbd.colour(frame))
        np.testing.assert_array_equal(file.poses[frame], rgbd.poses(4)[frame].astype("f4"))
    assert file.timestamps[2].tolist() == [66, 67]
    with pytest.raises(IndexError):
        file.depth(4)


def test_jpeg_colours_are_rgb(tmp_path):
    file = SensFile(rgbd.sens(tmp_path / "scene.sens", codecs=(2, 1)))
    # the compression blurs small steps of colour; red and blue swapped would be 40 apart
    difference = np.abs(file.colour(1)[::2, ::2].astype(int) - rgbd.colour(1))
    assert difference.mean() < 4


def test_opening_reads_no_picture(tmp_path):
    path = rgbd.sens(tmp_path / "scene.sens")
    data = bytearray(path.read_bytes())
    data[-40:] = b"\0" * 40  # inside the last depth image
    path.write_bytes(data)
    file = SensFile(path)
    assert file.depth(2).shape == (24, 32)
    with pytest.raises(UnreadableFileError, match=r"scene\.sens, frame 3: damaged depth"):
        file.depth(3)


@pytest.mark.parametrize("version", [0, 3, 5])
def test_other_versions_are_refused(tmp_path, version):
    path = rgbd.sens(tmp_path / "scene.sens", version=version)
    with pytest.raises(UnreadableFileError, match=rf"scene\.sens: version {version} of the .sens"):
        SensFile(path)


@pytest.mark.parametrize("codecs", [(3, 1), (2, 2), (-1, 1)])
def test_other_codecs_are_refused(tmp_path, codecs):
    path = rgbd.sens(tmp_path / "scene.sens", codecs=codecs)
    with pytest.raises(UnreadableFileError, match=rf"codecs {codecs[0]} of colour and {codecs[1]}"):
        SensFile(path)


def test_truncated_files_are_named_with_the_frame(tmp_path):
    path = rgbd.sens(tmp_path / "scene.sens")
    data = path.read_bytes()
    for kept, reason in (
        (0, "truncated at byte 0"),
        (100, "truncated at byte 100"),
        (300, "truncated"),
        (len(data) // 2, "truncated in frame [12] of 4"),
        (len(data) - 1, "truncated in frame 3 of 4"),
    ):
        path.write_bytes(data[:kept])
        with pytest.raises(UnreadableFileError, match=rf"scene\.sens: {reason}"):
            SensFile(path)
    with pytest.raises(UnreadableFileError, match="No such file"):
        SensFile(tmp_path / "none.sens")


def test_a_picture_of_another_size_is_named(tmp_path):
    path = rgbd.sens(tmp_path / "scene.sens")
    data = bytearray(path.read_bytes())
    at = 4 + 8 + 6 + 256 + 8
    data[at : at + 16] = struct.pack("<4I", 65, 48, 33, 24)
    path.write_bytes(data)
    file = SensFile(path)
    with pytest.raises(UnreadableFileError, match="frame 0: a picture of"):
        file.colour(0)
    with pytest.raises(UnreadableFileError, match="frame 0: 1536 bytes of depth"):
        file.depth(0)
