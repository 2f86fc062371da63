from __future__ import annotations

import json
import struct
import zlib

import numpy as np
import pytest

from densecl.regions import Segments, relabel
from densecl.regions.entry import MAGIC, DamagedEntryError, Entry, decode, encode


def entry(segments, name="a/b.png", source="abc"):
    return Entry("key", name, source, segments)


@pytest.fixture
def segments(random):
    ids = relabel(random.integers(-1, 30, (17, 23)))
    count = int(ids.max()) + 1
    return Segments(
        ids,
        {"foreground": random.random(count, np.float32), "centre": random.normal(size=(count, 3))},
        np.stack([np.arange(count) // 7, np.arange(count)], axis=1),
    )


def test_what_is_written_is_read(segments):
    read = decode(encode(entry(segments)))
    assert (read.key, read.name, read.source) == ("key", "a/b.png", "abc")
    assert (read.segments.ids == segments.ids).all()
    assert read.segments.ids.dtype == np.int32
    assert (read.segments.levels == segments.levels).all()
    assert set(read.segments.scores) == set(segments.scores)
    for name, values in segments.scores.items():
        assert read.segments.scores[name].dtype == values.dtype
        assert (read.segments.scores[name] == values).all()


@pytest.mark.parametrize("count", [1, 254, 255, 256, 257, 65534, 65535, 65536, 70001])
def test_ids_survive_every_width(count):
    ids = np.concatenate([np.arange(count), [-1, count - 1]])
    read = decode(encode(entry(Segments(ids)))).segments.ids
    assert (read == ids).all()
    assert read.dtype == np.int32


@pytest.mark.parametrize("shape", [(0,), (0, 5), (4,), (3, 3)])
def test_inputs_without_a_region_are_kept(shape):
    read = decode(encode(entry(Segments(np.full(shape, -1)))))
    assert read.segments.ids.shape == shape
    assert (read.segments.ids == -1).all()


def test_the_bytes_depend_on_the_content_alone(segments):
    again = Segments(
        segments.ids.astype(np.int64).copy(order="F"),
        dict(reversed(segments.scores.items())),
        segments.levels.astype(np.int16),
    )
    assert encode(entry(again)) == encode(entry(segments))
    big = Segments(segments.ids, {"x": segments.scores["foreground"].astype(">f4")})
    little = Segments(segments.ids, {"x": segments.scores["foreground"]})
    assert encode(entry(big)) == encode(entry(little))


def test_names_that_are_no_text_survive():
    name = b"caf\xe9.png".decode(errors="surrogateescape")
    assert decode(encode(entry(Segments(np.zeros(3, int)), name))).name == name


def test_every_flipped_bit_and_every_cut_is_noticed(random):
    data = encode(entry(Segments(relabel(random.integers(0, 4, (5, 6))))))
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 1 << int(random.integers(8))
        with pytest.raises(DamagedEntryError):
            decode(bytes(flipped))
        with pytest.raises(DamagedEntryError):
            decode(data[:place])


def with_sum(data):
    return data + struct.pack("<I", zlib.crc32(data))


@pytest.mark.parametrize(
    "header",
    [
        b"no json",
        json.dumps({}).encode(),
        json.dumps({"arrays": [["ids", "<u2", [9, 9]]]}).encode(),
        json.dumps({"arrays": [["ids", "O", [1]]], "key": "", "name": "", "source": ""}).encode(),
    ],
)
def test_a_header_that_does_not_fit_is_damage(header):
    data = with_sum(MAGIC + struct.pack("<I", len(header)) + header + zlib.compress(b"1234"))
    with pytest.raises(DamagedEntryError):
        decode(data)


def test_ids_beyond_32_bits_are_refused(monkeypatch):
    segments = Segments.unchecked(np.array([0, 2**31]), {}, None)
    monkeypatch.setattr(segments, "check", lambda: None)
    with pytest.raises(ValueError, match="32 bits"):
        encode(entry(segments))


def test_segments_that_were_changed_since_are_checked_again():
    segments = Segments(np.array([0, 1]))
    segments.scores["size"] = np.ones(3)
    with pytest.raises(ValueError, match="size is float64"):
        encode(entry(segments))
