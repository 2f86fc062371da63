from __future__ import annotations

import pytest
import torch
from engine_dummy import config, weights

from densecl.engine.check import complete
from densecl.engine.config import config_text
from densecl.engine.resume import check_same_run
from densecl.engine.runner import pretrain
from densecl.errors import UsageError

KINDS = {
    "sgd": {},
    "adamw": {"optim": {"type": "AdamW", "lr": 0.01, "scaling": "none"}},
    "lars": {"optim": {"type": "LARS", "lr": 1.0, "scaling": "none", "trust": 0.01}},
    "accumulate": {"train": {"accumulate": 2}},
    "workers": {"loader": {"num_workers": 2}},
    "bf16": {"train": {"amp": "bf16", "grad_clip": 0.5}},
    "contiguous": {"train": {"channels_last": False, "accumulate": 3}},
}


def same(first, second):
    a, b = weights(first), weights(second)
    assert a.step == b.step
    assert a.flat.keys() == b.flat.keys()
    assert any(name.endswith("queue") for name in a.flat)
    assert any("teacher" in name for name in a.flat)
    assert any("optimizer" in name for name in a.flat)
    different = [name for name in a.flat if not torch.equal(a.flat[name], b.flat[name])]
    assert not different
    assert torch.equal(a.rng, b.rng)


@pytest.mark.parametrize("kind", list(KINDS))
def test_six_steps_equal_three_and_three_bit_for_bit(tmp_path, kind):
    sections = config(**KINDS[kind])
    whole = pretrain(sections, work_dir=tmp_path / "whole")
    half = pretrain(sections, work_dir=tmp_path / "half", max_steps=3)
    assert (half.steps, half.reason) == (3, "max_steps")
    # What happens between the two runs must not matter.
    torch.rand(17)
    rest = pretrain(sections, work_dir=tmp_path / "half", resume=True)
    assert (rest.steps, rest.reason) == (6, "finished")
    same(whole.checkpoint, rest.checkpoint)


def test_training_moves_weights_queue_and_teacher(tmp_path):
    run = pretrain(config(checkpoint={"every": 1, "keep": 9}), work_dir=tmp_path)
    first, last = weights(tmp_path / "step_00000001.pth"), weights(run.checkpoint)
    for name in ("method.queue", "method.teacher.head.weight", "method.online.head.weight"):
        assert not torch.equal(first.flat[name], last.flat[name]), name


def test_the_number_of_workers_does_not_change_the_run(tmp_path):
    none = pretrain(config(), work_dir=tmp_path / "none")
    two = pretrain(config(loader={"num_workers": 2}), work_dir=tmp_path / "two")
    same(none.checkpoint, two.checkpoint)


def test_another_seed_is_another_run(tmp_path):
    a = pretrain(config(), work_dir=tmp_path / "a")
    b = pretrain(config(seed=1), work_dir=tmp_path / "b")
    with pytest.raises(AssertionError):
        same(a.checkpoint, b.checkpoint)


def test_resuming_from_a_path_elsewhere(tmp_path):
    whole = pretrain(config(), work_dir=tmp_path / "whole")
    third = tmp_path / "whole" / "step_00000003.pth"
    rest = pretrain(config(), work_dir=tmp_path / "rest", resume=third)
    assert rest.steps == 6
    same(whole.checkpoint, rest.checkpoint)


def test_resuming_a_damaged_newest_repeats_from_the_one_before(tmp_path, capsys):
    whole = pretrain(config(), work_dir=tmp_path)
    expected = whole.checkpoint.read_bytes()
    copy = tmp_path / "expected.pth"
    copy.write_bytes(expected)
    (tmp_path / "last.pth").unlink()
    whole.checkpoint.write_bytes(expected[:1000])
    rest = pretrain(config(), work_dir=tmp_path, resume="auto")
    assert "damaged" in capsys.readouterr().err
    same(copy, rest.checkpoint)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"optim": {"lr": 0.2}}, "optim.lr"),
        ({"method": {"dim": 7}}, "method.dim"),
        ({"schedule": {"max_steps": 8}}, "schedule.max_steps"),
        ({"train": {"accumulate": 2}}, "train.accumulate"),
        ({"views": {"size": 20}}, "views.size"),
        ({"seed": 3}, "seed"),
        ({"data": {"length": 21}}, "data.length"),
        ({"optim": {"type": "AdamW", "scaling": "none"}}, "optim.type"),
    ],
)
def test_a_changed_field_that_matters_is_refused_by_name(tmp_path, changes, field):
    pretrain(config(), work_dir=tmp_path, max_steps=1)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(UsageError) as caught:
        pretrain(config(**changes), work_dir=tmp_path, resume=True)
    assert field in caught.value.given
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_fields_that_do_not_matter_may_change(tmp_path):
    pretrain(config(), work_dir=tmp_path, max_steps=1)
    changed = config(
        loader={"num_workers": 1},
        log={"every": 3},
        data={"root": "moved/elsewhere"},
        checkpoint={"every": 2},
    )
    assert pretrain(changed, work_dir=tmp_path, resume=True).steps == 6


def test_other_data_under_the_same_config_is_refused(tmp_path, monkeypatch):
    pretrain(config(), work_dir=tmp_path, max_steps=1)
    monkeypatch.setattr("engine_dummy.RandomImages.fingerprint", lambda _: "other")
    with pytest.raises(UsageError, match="fingerprint"):
        pretrain(config(), work_dir=tmp_path, resume=True)


def test_data_below_a_wrapper_may_move_as_well_and_must_stay_the_same():
    full = complete(config())
    wrapped = {"type": "Pairs", "dataset": {"type": "Scans", "root": "a", "length": 3}}
    checkpoint = {"meta": {"data_hash": "h"}, "config": config_text({**full, "data": wrapped})}

    def now(**changes):
        return {**full, "data": {**wrapped, "dataset": {**wrapped["dataset"], **changes}}}

    check_same_run(checkpoint, now(root="b"), "h")
    with pytest.raises(UsageError, match=r"data\.dataset\.length: 3 in the checkpoint, 4 now"):
        check_same_run(checkpoint, now(length=4), "h")
