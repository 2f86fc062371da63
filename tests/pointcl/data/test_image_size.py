from __future__ import annotations

import cv2
import numpy as np
import pytest

from densecl.data.decode import UnreadableFileError
from pointcl.data.image_size import image_size


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
@pytest.mark.parametrize("flags", [[], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]])
def test_size_is_that_of_the_decoded_picture(tmp_path, suffix, flags):
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), np.zeros((37, 300, 3), np.uint8), flags if suffix == ".jpg" else [])
    assert image_size(path) == (37, 300)


def test_size_past_other_segments_and_fill_bytes(tmp_path):
    path = tmp_path / "a.jpg"
    cv2.imwrite(str(path), np.zeros((37, 300, 3), np.uint8))
    data = path.read_bytes()
    # a comment that looks like a frame header, then fill bytes
    comment = b"\xff\xfe\x00\x0c\xff\xc0\x00\x11\x08\x00\x01\x00\x01\x01" + b"\xff\xff"
    path.write_bytes(data[:2] + comment + data[2:])
    assert image_size(path) == (37, 300)


@pytest.mark.parametrize("content", [b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"no picture"])
def test_no_picture_is_named(tmp_path, content):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(UnreadableFileError, match=r"a\.png"):
        image_size(path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UnreadableFileError, match="No such file"):
        image_size(tmp_path / "a.png")
