from __future__ import annotations

import pytest
from engine_dummy import config
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from densecl.engine.hooks.scalars import read_scalars
from densecl.engine.runner import pretrain


def test_the_points_are_those_of_the_json_lines_also_over_a_resume(tmp_path):
    sections = config(log={"tensorboard": True})
    pretrain(sections, work_dir=tmp_path, max_steps=4)
    pretrain(sections, work_dir=tmp_path, resume=True)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    points = [(e.step, e.value) for e in events.Scalars("loss")]
    lines = [(line["step"], line["loss"]) for line in read_scalars(tmp_path)]
    assert points == [(step, pytest.approx(value)) for step, value in lines]
