from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest

from densecl.data import Davis
from densecl.errors import UsageError

SIZE = (6, 8)


def write_indexed(path, ids):
    """An indexed PNG with DAVIS's palette of 256 colours."""
    path.parent.mkdir(parents=True, exist_ok=True)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + crc(kind + data)

    def crc(data):
        return struct.pack(">I", zlib.crc32(data))

    colour = [[0, 0, 0] for _ in range(256)]
    for number in range(256):
        value, shift = number, 7
        while value:
            for channel in range(3):
                colour[number][channel] |= (value >> channel & 1) << shift
            value, shift = value >> 3, shift - 1
    height, width = ids.shape
    rows = b"".join(b"\0" + row.astype(np.uint8).tobytes() for row in ids)
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"PLTE", bytes(np.array(colour, np.uint8)))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def masks(name, t):
    return np.random.default_rng([len(name), t]).choice([0, 1, 2, 5, 255], SIZE)


@pytest.fixture
def davis(tmp_path, write_image):
    def write(between=""):
        for name, length in (("bear", 4), ("camel", 3)):
            for t in range(length):
                write_image(tmp_path / "JPEGImages" / between / name / f"{t:05d}.jpg", 10 * t, SIZE)
                path = tmp_path / "Annotations" / between / name / f"{t:05d}.png"
                write_indexed(path, masks(name, t))
        return tmp_path

    return write


def test_a_sample_is_a_whole_sequence(davis):
    dataset = Davis(davis())
    assert len(dataset) == 2
    assert dataset.sequences == ["bear", "camel"]
    sample = dataset[0]
    assert (sample.name, sample.source) == ("bear", 0)
    assert [len(dataset[i].frames) for i in range(2)] == [4, 3]
    assert [round(frame.image.mean()) for frame in sample.frames] == [0, 10, 20, 30]
    for t, frame in enumerate(sample.frames):
        raw, ids = masks("bear", t), frame.maps["instance"]
        assert ids.dtype == np.int64
        assert (ids[raw == 0] == -1).all()
        assert (ids[raw == 255] == -2).all()
        for number in (1, 2, 5):
            assert ((ids == number) == (raw == number)).all()


def test_2016_has_one_object_and_no_void(davis):
    root = davis()
    binary = (masks("bear", 0) > 0).astype(np.uint8) * 255
    for layers in (binary, np.repeat(binary[..., None], 3, axis=2)):
        assert cv2.imwrite(str(root / "Annotations" / "bear" / "00000.png"), layers)
        ids = Davis(root, edition="2016")[0].frames[0].maps["instance"]
        assert (ids == np.where(binary > 0, 1, -1)).all()
    with pytest.raises(UsageError, match=r"bear/00000\.png: a mask in colours"):
        Davis(root)[0]


def test_sequences_can_be_chosen_by_list_and_by_file(davis, tmp_path):
    root = davis()
    assert Davis(root, names=["camel"]).sequences == ["camel"]
    assert Davis(root, names=["camel", "bear"])[0].name == "camel"
    (tmp_path / "val.txt").write_text("camel\n\nbear\n")
    assert Davis(root, names=tmp_path / "val.txt").sequences == ["camel", "bear"]
    with pytest.raises(UsageError, match="'horse' is not in"):
        Davis(root, names=["bear", "horse"])
    for names in ([], ["bear", "bear"]):
        with pytest.raises(UsageError, match="each once"):
            Davis(root, names=names)


def test_a_folder_for_the_resolution(davis):
    root = davis("480p")
    assert len(Davis(root, resolution="480p")[0].frames) == 4
    with pytest.raises(UsageError, match=r"(?s)no frames in .*480p.*data\.resolution"):
        Davis(root)
    with pytest.raises(UsageError, match="1080p does not exist"):
        Davis(root, resolution="1080p")


def test_the_beginning_of_each_sequence(davis):
    root = davis()
    assert [len(Davis(root, frames=n)[0].frames) for n in (1, 3, 9)] == [1, 3, 4]
    with pytest.raises(UsageError, match=r"data\.frames=0"):
        Davis(root, frames=0)


def test_a_frame_without_a_mask_is_named_before_anything_is_read(davis):
    root = davis()
    (root / "Annotations" / "bear" / "00002.png").unlink()
    with pytest.raises(UsageError, match=r"1 of 4 frames of 'bear' .*bear/00002\.png"):
        Davis(root)
    assert Davis(root, frames=2).sequences == ["bear", "camel"]


def test_unreadable_files_are_named_or_skipped(davis):
    root = davis()
    (root / "Annotations" / "bear" / "00001.png").write_bytes(b"broken")
    with pytest.raises(UsageError, match=r"bear/00001\.png"):
        Davis(root)[0]
    dataset = Davis(root, on_error="skip")
    assert dataset[0].name == "camel"
    assert dataset.skipped == ["bear"]


def test_a_mask_or_a_frame_of_another_size_is_named(davis, write_image):
    root = davis()
    write_indexed(root / "Annotations" / "bear" / "00001.png", np.zeros((3, 3), int))
    with pytest.raises(UsageError, match=r"Annotations/bear/00001\.png: 3 x 3 pixels"):
        Davis(root)[0]
    write_indexed(root / "Annotations" / "bear" / "00001.png", np.zeros((5, 5), int))
    write_image(root / "JPEGImages" / "bear" / "00001.jpg", 0, (5, 5))
    with pytest.raises(UsageError, match="its sequence has 8 x 6"):
        Davis(root)[0]


def test_what_is_no_davis_is_refused(tmp_path):
    with pytest.raises(UsageError, match="JPEGImages does not exist"):
        Davis(tmp_path)
    (tmp_path / "JPEGImages").mkdir()
    (tmp_path / "Annotations").mkdir()
    with pytest.raises(UsageError, match="no sequence"):
        Davis(tmp_path)
    with pytest.raises(UsageError, match='"2016" or "2017"'):
        Davis(tmp_path, edition="2018")


def test_fingerprint_follows_names_masks_and_settings(davis):
    root = davis()
    first = Davis(root).fingerprint()
    assert Davis(root).fingerprint() == first
    others = {
        Davis(root, edition="2016").fingerprint(),
        Davis(root, frames=2).fingerprint(),
        Davis(root, names=["bear"]).fingerprint(),
        first,
    }
    assert len(others) == 4
    write_indexed(root / "Annotations" / "bear" / "00000.png", np.zeros((60, 80), int))
    assert Davis(root).fingerprint() != first
