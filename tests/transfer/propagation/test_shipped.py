"""The shipped protocols of runs on videos, prompts and correspondence say what they mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from densecl.transfer.propagation.task import PRESETS
from densecl.transfer.protocol_file import read_protocol

KNOWN = {
    "backbone": {"type": "ResNet", "depth": 18, "width": 4},
    "mean": (0.0, 0.0, 0.0),
    "std": (1.0, 1.0, 1.0),
    "channel_order": "RGB",
}


def task_of(name, root=None):
    protocol = read_protocol(name, data_root=root)
    return protocol, protocol.kind.task_for(protocol, KNOWN, 11, "cpu")


@pytest.mark.parametrize("name", ["propagation_davis", "propagation_streets"])
def test_propagation_has_the_published_settings_but_for_the_size(name):
    _, run = task_of(name, Path("davis"))
    for field, value in PRESETS["vfs-r18"].items():
        if field not in ("short_side", "stride"):
            assert getattr(run, field) == value, field
    assert run.input.strides == (8,)


def test_davis_lies_where_the_data_root_says():
    protocol, run = task_of("propagation_davis", Path("davis"))
    assert protocol.data["val"]["root"] == "davis"
    assert protocol.data["unlabelled"]["root"] == str(Path("davis") / "JPEGImages")
    assert run.short_side == 240


@pytest.mark.parametrize(
    ("name", "frames"),
    [
        ("propagation_streets", 8),
        ("correspondence_streets", 2),
        ("prompts_streets", 1),
        ("correspondence-views_streets", 1),
    ],
)
def test_streets_are_read_a_cell_in_four_pixels(name, frames):
    protocol, run = task_of(name)
    for part in ("val", "test"):
        assert protocol.data[part].get("clip_length", 1) == frames
        assert protocol.data[part]["split"] == part
    assert run.stage_strides == (1, 2, 1, 2)
    assert run.input.strides == (8,)
    if name != "correspondence-views_streets":
        assert run.input.resize == (240, 320)
    assert not protocol.learns
    assert not protocol.rate
