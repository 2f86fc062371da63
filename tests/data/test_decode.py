import pickle
import struct
import zlib

import cv2
import numpy as np
import pytest

from densecl.data.decode import UnreadableFileError, read_ids, read_rgb
from densecl.errors import UsageError

COLOURS = np.array([[[255, 0, 0], [0, 200, 0]], [[0, 0, 90], [10, 20, 30]]], np.uint8)


def chunk(kind, body):
    crc = struct.pack(">I", zlib.crc32(kind + body))
    return struct.pack(">I", len(body)) + kind + body + crc


def palette_png(index, palette):
    height, width = index.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    rows = b"".join(b"\0" + bytes(row) for row in index.astype(np.uint8))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"PLTE", np.asarray(palette, np.uint8).tobytes())
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def test_colours_are_rgb(tmp_path):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), COLOURS[..., ::-1])
    assert np.array_equal(read_rgb(path), COLOURS)
    assert np.array_equal(read_ids(path), COLOURS)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_gets_three_channels_and_16_bits_keep_the_upper_8(tmp_path, dtype):
    values = np.arange(16, dtype=dtype).reshape(4, 4)
    values = values * (4096 if dtype == np.uint16 else 16)
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), values)
    upper = values >> 8 if dtype == np.uint16 else values
    image = read_rgb(path)
    assert image.dtype == np.uint8
    assert np.abs(image.astype(int) - upper[..., None]).max() <= 1
    assert np.array_equal(read_ids(path), values)


def test_alpha_is_dropped(tmp_path):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.dstack([COLOURS[..., ::-1], np.full((2, 2), 7, np.uint8)]))
    assert np.array_equal(read_rgb(path), COLOURS)


def test_palette_png_gives_its_indices(tmp_path):
    index = np.array([[0, 1, 2], [2, 255, 0]])
    palette = np.arange(256)[:, None] * [1, 1, 0] + [0, 0, 9]
    path = tmp_path / "a.png"
    path.write_bytes(palette_png(index, palette))
    assert np.array_equal(read_ids(path), index)


def test_ambiguous_palette_is_refused(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(palette_png(np.array([[0, 1]]), [[5, 5, 5], [5, 5, 5]]))
    with pytest.raises(UnreadableFileError, match="palette"):
        read_ids(path)


def jpeg():
    return cv2.imencode(".jpg", np.full((64, 64, 3), 128, np.uint8))[1].tobytes()


def png():
    return cv2.imencode(".png", np.full((64, 64, 3), 128, np.uint8))[1].tobytes()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"hello", "not an image"),
        (jpeg()[:-40], "truncated JPEG"),
        (png()[:-20], "truncated PNG"),
        (jpeg()[:2] + b"\xff\xd9", "not an image"),
    ],
)
@pytest.mark.parametrize("read", [read_rgb, read_ids])
def test_bad_files_are_named_with_the_reason(tmp_path, read, content, reason):
    path = tmp_path / "broken.jpg"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=rf"broken\.jpg: .*{reason}"):
        read(path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UnreadableFileError, match=r"gone\.jpg: No such file"):
        read_rgb(tmp_path / "gone.jpg")


def test_error_survives_the_way_out_of_a_worker():
    error = pickle.loads(pickle.dumps(UnreadableFileError("x.jpg", "why")))
    assert (error.path, error.reason, "x.jpg: why" in str(error)) == ("x.jpg", "why", True)
