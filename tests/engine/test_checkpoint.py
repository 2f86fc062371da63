from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from densecl.engine import checkpoint
from densecl.engine.checkpoint import (
    LAST,
    list_checkpoints,
    load_checkpoint,
    newest_valid,
    portable,
    save_checkpoint,
    step_file,
    tensor_bytes,
)
from densecl.errors import UsageError
from densecl.weights.schema import SCHEMA


def state(step: int, value: float = 0.0) -> dict:
    return {
        "schema": SCHEMA,
        "kind": "pretrain",
        "step": step,
        "method": OrderedDict(weight=torch.full((200, 300), value)),
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(2)}}, "param_groups": []},
        "schedule": {"step": step},
        "rng": {},
        "sampler": {},
        "meta": {},
        "config": "",
    }


def steps(folder: Path) -> list[int]:
    return [int(p.stem.split("_")[1]) for p in list_checkpoints(folder)]


def test_the_newest_n_are_kept_and_last_is_the_newest(tmp_path):
    for step in (3, 6, 9, 12):
        save_checkpoint(tmp_path, state(step, step), keep=2)
    assert steps(tmp_path) == [9, 12]
    assert load_checkpoint(tmp_path / LAST)["step"] == 12


def test_last_costs_no_second_copy(tmp_path):
    path = save_checkpoint(tmp_path, state(3), keep=2)
    assert os.stat(path).st_ino == os.stat(tmp_path / LAST).st_ino


def test_without_hard_links_last_is_a_copy(tmp_path, monkeypatch):
    def no_links(*_):
        raise OSError("not supported")

    monkeypatch.setattr(checkpoint.os, "link", no_links)
    save_checkpoint(tmp_path, state(3), keep=2)
    assert load_checkpoint(tmp_path / LAST)["step"] == 3


def test_writing_the_same_step_again_replaces_it(tmp_path):
    save_checkpoint(tmp_path, state(3, 1.0), keep=2)
    path = save_checkpoint(tmp_path, state(3, 2.0), keep=2)
    assert float(load_checkpoint(path)["method"]["weight"][0, 0]) == 2.0
    assert sorted(p.name for p in tmp_path.iterdir()) == [LAST, "step_00000003.pth"]


def test_a_just_written_earlier_step_is_never_the_one_dropped(tmp_path):
    for step in (6, 9):
        save_checkpoint(tmp_path, state(step), keep=2)
    save_checkpoint(tmp_path, state(4), keep=2)
    assert steps(tmp_path) == [4, 9]


def test_what_was_written_first_is_dropped_first_whatever_its_step(tmp_path):
    for order, step in enumerate((9, 6)):
        path = save_checkpoint(tmp_path, state(step), keep=2)
        os.utime(path, ns=(order, order))
    save_checkpoint(tmp_path, state(7), keep=2)
    assert steps(tmp_path) == [6, 7]


def test_a_partly_written_file_is_never_picked_up(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, state(3), keep=2)

    def torn(content, path):
        Path(path).write_bytes(b"PK half a file")
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.torch, "save", torn)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path, state(6), keep=2)
    found = newest_valid(tmp_path)
    assert found is not None
    assert found[0] == step_file(tmp_path, 3)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "foreign"])
def test_a_damaged_newest_falls_back_with_a_warning(tmp_path, damage):
    save_checkpoint(tmp_path, state(3), keep=2)
    path = save_checkpoint(tmp_path, state(6), keep=2)
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        content = content[: len(content) // 2]
    elif damage == "flipped":
        content[len(content) // 2] ^= 0x40
    elif damage == "empty":
        content = bytearray()
    if damage == "foreign":
        torch.save({"state_dict": {}}, path)
    else:
        path.write_bytes(content)
    said: list[str] = []
    found = newest_valid(tmp_path, warn=said.append)
    assert found is not None
    assert found[1]["step"] == 3
    assert "step_00000006.pth" in said[0]
    assert steps(tmp_path) == [3]


def test_an_empty_or_absent_work_dir_holds_nothing(tmp_path):
    assert newest_valid(tmp_path) is None
    assert newest_valid(tmp_path / "absent") is None


def test_a_missing_file_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="no checkpoint"):
        load_checkpoint(tmp_path / "step_00000001.pth")


def test_objects_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(TypeError, match="Path"):
        save_checkpoint(tmp_path, {**state(3), "meta": {"where": tmp_path}}, keep=2)
    assert not list(tmp_path.iterdir())


def test_too_little_space_leaves_the_older_files(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, state(3), keep=1)

    def full(*_):
        raise UsageError("0 MiB free")

    monkeypatch.setattr(checkpoint, "require_space", full)
    with pytest.raises(UsageError, match="free"):
        save_checkpoint(tmp_path, state(6), keep=1)
    assert steps(tmp_path) == [3]


def test_portable_keeps_values_and_drops_classes():
    nested = {"a": OrderedDict(x=torch.ones(2, requires_grad=True)), "b": [(1, None), "s"]}
    plain = portable(nested)
    assert type(plain["a"]) is dict
    assert not plain["a"]["x"].requires_grad
    assert plain["b"] == [(1, None), "s"]


def test_tensor_bytes_counts_nested_tensors():
    assert tensor_bytes({"a": [torch.zeros(3)], "b": (torch.zeros(2, dtype=torch.int64), 1)}) == 28
