from __future__ import annotations

import pytest

from densecl.errors import UsageError
from densecl.transfer.protocol_file import read_protocol

TEXT = """
_shared = dict(type="LabelledFolder", classes=["a", "b"])
data = dict(
    train=dict(images="train/i", labels="train/l", **_shared),
    val=dict(images="/elsewhere/i", labels="val/l", **_shared),
)
finetune = dict(steps=7, crop=[32, 48])
learning_rates = [0.1]
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "mine.py"
        path.write_text(text)
        return path

    return write


def test_relative_paths_start_at_the_data_root_and_absolute_ones_stay(write, tmp_path):
    protocol = read_protocol(write(TEXT), data_root=tmp_path)
    assert protocol.data["train"]["images"] == str(tmp_path / "train/i")
    assert protocol.data["val"]["images"] == "/elsewhere/i"
    assert protocol.name == "mine"
    assert protocol.finetune == {"steps": 7, "crop": (32, 48)}
    assert protocol.learning_rates == (0.1,)


def test_overrides_reach_nested_fields(write):
    protocol = read_protocol(write(TEXT), ["finetune.steps=9", "seeds=[4]"])
    assert protocol.finetune["steps"] == 9
    assert protocol.seeds == (4,)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("learning_rate = [1]", "learning_rates"),
        ("finetune = dict(stepz=7)", "steps"),
        ("finetune = dict(lr=0.1)", "finetune.lr"),
        ("version = 99", "version"),
        ("learning_rates = []", "learning_rates"),
        ("learning_rates = [0.0]", "learning_rates"),
        ("selection = 'best'", "selection"),
        ("data = dict(train=dict(type='LabelledFolder'))", "data.val"),
        ("data = dict(train=dict(type='LabeledFolder'), val=dict(type='x'))", "LabelledFolder"),
        ("data = dict(trian=dict(type='LabelledFolder'))", "train"),
        ("data = None", "data"),
    ],
)
def test_a_wrong_field_is_refused_with_its_name(write, change, named):
    with pytest.raises(UsageError, match=named):
        read_protocol(write(f"{TEXT}\n{change}\n"))


@pytest.mark.parametrize("name", ["upernet_streets-5pct", "upernet_camvid-10pct"])
def test_shipped_protocols_are_valid(name):
    protocol = read_protocol(name)
    assert {"train", "val", "test", "unlabelled"} == set(protocol.data)
