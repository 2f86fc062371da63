from __future__ import annotations

import json

from engine_dummy import config

from densecl.engine.hooks.scalars import SCALARS, cut_scalars, read_scalars
from densecl.engine.runner import pretrain
from densecl.engine.schedule import LearningRate


def test_lines_come_at_their_interval_and_where_health_looked(tmp_path):
    pretrain(config(log={"every": 3}, health={"every": 2}), work_dir=tmp_path)
    assert [line["step"] for line in read_scalars(tmp_path)] == [2, 3, 4, 6]


def test_a_line_holds_loss_telemetry_rate_and_health(tmp_path):
    pretrain(config(), work_dir=tmp_path)
    line = read_scalars(tmp_path)[-1]
    wanted = {"step", "loss", "loss_global", "lr", "images_per_second", "positive_similarity"}
    assert wanted | {"feature_std", "effective_rank", "empty_fraction"} <= set(line)


def test_a_resumed_run_has_the_lines_of_an_uninterrupted_one(tmp_path):
    pretrain(config(), work_dir=tmp_path / "whole")
    pretrain(config(), work_dir=tmp_path / "half", max_steps=3)
    # What a killed process wrote after its last checkpoint, the last line torn.
    with open(tmp_path / "half" / SCALARS, "a") as stream:
        stream.write('{"step": 4, "loss": 99.0}\n{"step": 5, "lo')
    pretrain(config(), work_dir=tmp_path / "half", resume=True)
    whole, half = read_scalars(tmp_path / "whole"), read_scalars(tmp_path / "half")
    for line in whole + half:
        del line["images_per_second"]
    assert half == whole


def test_each_step_has_its_own_rate_of_the_schedule(tmp_path):
    pretrain(config(), work_dir=tmp_path, max_steps=4)
    pretrain(config(), work_dir=tmp_path, resume=True)
    rate = LearningRate(0.1, 6, warmup_steps=1)
    for line in read_scalars(tmp_path):
        # the rate is that of the steps finished before this one
        assert line["lr"] == rate(line["step"] - 1)


def test_cutting_keeps_lines_up_to_the_step(tmp_path):
    text = "".join(json.dumps({"step": s}) + "\n" for s in range(1, 6))
    (tmp_path / SCALARS).write_text(text)
    cut_scalars(tmp_path, 3)
    assert [line["step"] for line in read_scalars(tmp_path)] == [1, 2, 3]


def test_a_run_without_lines_reads_as_empty(tmp_path):
    cut_scalars(tmp_path, 3)
    assert read_scalars(tmp_path) == []


def test_nan_telemetry_is_null_so_that_every_line_is_json(tmp_path, monkeypatch):
    import engine_dummy

    forward = engine_dummy.DummyMethod.forward

    def with_nan(self, views):
        output = forward(self, views)
        output.telemetry["queue_age"] = float("nan")
        return output

    monkeypatch.setattr(engine_dummy.DummyMethod, "forward", with_nan)
    pretrain(config(), work_dir=tmp_path)
    text = (tmp_path / SCALARS).read_text()
    assert "NaN" not in text
    assert read_scalars(tmp_path)[0]["queue_age"] is None
