"""Every run that a protocol file can name is wired: its section, its task, its grid."""

from __future__ import annotations

from dataclasses import fields

import pytest

from densecl.engine.config import find_config, list_configs, parse_config_text
from densecl.errors import UsageError
from densecl.transfer.columns import columns_of
from densecl.transfer.features import FrozenInput
from densecl.transfer.finetuning import FinetuneSpec
from densecl.transfer.of_images import PICTURES, bare_run
from densecl.transfer.protocol_file import check_protocol, read_protocol

KNOWN = {
    "backbone": {"type": "ResNet", "depth": 18, "width": 4},
    "mean": (1.0, 2.0, 3.0),
    "std": (4.0, 5.0, 6.0),
    "channel_order": "BGR",
}
STREETS = {part: {"type": "Streets", "split": part, "length": 4} for part in ("train", "val")}
SHIPPED = [name for name in list_configs() if find_config(name).parent.name == "transfer"]


def input_of(task):
    return next((getattr(task, name) for name in ("input", "probe") if hasattr(task, name)), task)


@pytest.mark.parametrize("run", list(PICTURES.runs))
def test_a_section_makes_the_task_that_it_names(run):
    given = {"data": STREETS, run: {"batch": 3} if PICTURES.runs[run].given & {"input"} else {}}
    protocol = check_protocol("toy", given)
    task = PICTURES.task_for(protocol, KNOWN, 11, "cpu")
    read = input_of(task)
    assert task.backbone == KNOWN["backbone"]
    assert (read.mean, read.std, read.channel_order) == ((1, 2, 3), (4, 5, 6), "BGR")
    if isinstance(read, FrozenInput):
        assert read.batch == 3
    if "num_classes" in {item.name for item in fields(task)}:
        assert task.num_classes == 11
    assert columns_of(task)
    assert protocol.learns == PICTURES.runs[run].learns
    changed = task.at(0.5).to_dict() != task.at(0.7).to_dict()
    assert changed == bool(protocol.rate)
    same = bare_run(task, lambda: pytest.fail("opened") if _sized(task) else _samples())
    assert isinstance(same, FinetuneSpec)
    assert (same.mean, same.channel_order) == ((1, 2, 3), "BGR")


def _sized(task):
    return any(getattr(task, name, None) for name in ("crop", "resize"))


def _samples():
    from densecl.data.streets import Streets

    return Streets(split="val", length=1)


@pytest.mark.parametrize("run", list(PICTURES.runs))
def test_what_comes_from_the_weights_cannot_be_set(run):
    for name in ("backbone", "mean", "num_classes", "input"):
        with pytest.raises(UsageError, match=rf"{run}\.{name}"):
            check_protocol("toy", {"data": STREETS, run: {name: 1}})


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_protocols_make_their_tasks(name, tmp_path):
    protocol = read_protocol(name, data_root=tmp_path)
    task = PICTURES.task_for(protocol, KNOWN, 11, "cpu")
    assert input_of(task).mean == (1, 2, 3)
    assert (protocol.run in ("finetune", "detection")) == bool(task.steps)
    again = check_protocol(name, parse_config_text(protocol.text()), tmp_path)
    assert again.settings == protocol.settings
    assert again.data == protocol.data
    assert again.learning_rates == protocol.learning_rates


def test_runs_without_labels_need_no_training_part():
    check_protocol("toy", {"data": {"val": STREETS["val"]}, "measures": {}})
    with pytest.raises(UsageError, match=r"data\.train"):
        check_protocol("toy", {"data": {"val": STREETS["val"]}, "retrieval": {}})
    with pytest.raises(UsageError, match=r"data\.val"):
        check_protocol("toy", {"data": {"train": STREETS["train"]}, "measures": {}})


def test_one_file_is_one_run():
    with pytest.raises(UsageError, match="finetune and probe"):
        check_protocol("toy", {"data": STREETS, "finetune": {"steps": 3}, "probe": {"grid": 4}})
    with pytest.raises(UsageError, match="finetune and probe"):
        check_protocol("toy", {"data": STREETS, "finetune": {"steps": 3}, "probe": {}})
    assert check_protocol("toy", {"data": STREETS, "finetune": {}, "probe": {"grid": 4}}).probe
    assert check_protocol("toy", {"data": STREETS}).run == "finetune"


def test_a_task_of_ones_own_is_named_by_module_and_class():
    home = "densecl.transfer.measures.task:MeasuresSpec"
    val = {"val": STREETS["val"]}
    protocol = check_protocol("toy", {"data": val, "task": {"type": home, "batch": 2}})
    assert not protocol.learns
    assert PICTURES.task_for(protocol, KNOWN, 0, "cpu").input.batch == 2
    assert check_protocol("toy", {"data": STREETS, "task": {"type": home}}).learns
    for wrong in ("no_such_module:X", "densecl.transfer.measures.task:Missing"):
        with pytest.raises(UsageError, match="PYTHONPATH"):
            check_protocol("toy", {"data": val, "task": {"type": wrong}})
    with pytest.raises(UsageError, match="module:Class"):
        check_protocol("toy", {"data": val, "task": {"type": "MeasuresSpec"}})
