from __future__ import annotations

from engine_dummy import config

from densecl.engine.checkpoint import list_checkpoints
from densecl.engine.runner import pretrain


def steps(folder):
    return [int(p.stem[5:]) for p in list_checkpoints(folder)]


def test_checkpoints_come_at_their_interval_and_at_the_end(tmp_path):
    pretrain(config(checkpoint={"every": 4, "keep": 9}), work_dir=tmp_path)
    assert steps(tmp_path) == [4, 6]


def test_an_end_that_is_an_interval_is_written_once(tmp_path, monkeypatch):
    from densecl.engine.hooks import checkpoint

    written = []
    original = checkpoint.save_checkpoint

    def count(folder, state, *, keep):
        written.append(state["step"])
        return original(folder, state, keep=keep)

    monkeypatch.setattr(checkpoint, "save_checkpoint", count)
    pretrain(config(), work_dir=tmp_path)
    assert written == [3, 6]


def test_continuing_a_finished_run_writes_nothing(tmp_path):
    first = pretrain(config(), work_dir=tmp_path)
    before = first.checkpoint.stat().st_mtime_ns
    again = pretrain(config(), work_dir=tmp_path, resume=True)
    assert (again.steps, again.reason, again.checkpoint) == (6, "finished", first.checkpoint)
    assert first.checkpoint.stat().st_mtime_ns == before


def test_only_the_newest_are_kept(tmp_path):
    pretrain(config(checkpoint={"every": 1, "keep": 2}), work_dir=tmp_path)
    assert steps(tmp_path) == [5, 6]
