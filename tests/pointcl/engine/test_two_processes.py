"""A run on points by two processes, each with its share of every batch."""

from __future__ import annotations

import sys
from pathlib import Path

from several import on_ranks

sys.path.insert(0, str(Path(__file__).parents[1]))

from point_worlds import config

from densecl.engine.checkpoint import load_checkpoint
from densecl.engine.hooks.scalars import read_scalars
from densecl.engine.runner import pretrain
from pointcl.engine.domain import POINTS


def train(folder):
    sections = config(
        loader={"batch_size": 1}, schedule={"max_steps": 2}, voxels={"size": 0.5},
        health={"every": 1}, train={"sync_bn": True},
    )  # fmt: skip
    result = pretrain(sections, work_dir=folder, domain=POINTS)
    return result.steps, result.reason


def test_two_processes_train_together_and_write_one_checkpoint(tmp_path):
    assert on_ranks(train, str(tmp_path)) == [(2, "finished")] * 2
    content = load_checkpoint(tmp_path / "last.pth")
    assert content["meta"]["world_size"] == 2
    assert len(content["rng_ranks"]) == 2
    lines = read_scalars(tmp_path)
    assert [line["step"] for line in lines] == [1, 2]
    assert all(line["pairs_per_scan"] > 0 for line in lines)
