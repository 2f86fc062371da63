from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from engine_dummy import config

from densecl.engine.hooks.health import HealthHook, measure
from densecl.engine.hooks.scalars import read_scalars
from densecl.engine.runner import pretrain
from densecl.engine.step import StepReport


def look(hook, **report):
    told: list[str] = []
    runner = SimpleNamespace(
        train_loop=SimpleNamespace(report=StepReport(**{"scalars": {}, "samples": 4, **report})),
        say=told.append,
    )
    hook.after_train_iter(runner, report["step"] - 1)
    return runner.train_loop.report, told


def hook(**changes):
    return HealthHook(**{"every": 1, "min_std": 0.1, "min_rank": 2.0, "max_empty": 0.5, **changes})


SPREAD = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))


def test_healthy_features_raise_nothing():
    report, told = look(hook(), step=3, rows=SPREAD, scalars={"empty_fraction": 0.5})
    assert told == []
    assert report.looked_at
    assert report.scalars["feature_std"] > 0.9


@pytest.mark.parametrize(
    ("report", "words"),
    [
        ({"rows": torch.ones(9, 4)}, "feature std"),
        ({"rows": torch.tensor([[1.0, 0, 0], [-1.0, 0, 0]]).repeat(5, 1)}, "effective rank 1 <"),
        ({"scalars": {"empty_fraction": torch.tensor(0.75)}}, "75% of the images have no pair"),
    ],
)
def test_each_alarm_names_the_step_and_what_to_do_once(report, words):
    watch = hook()
    _, told = look(watch, step=3, **report)
    assert any(words in line and "step 3" in line for line in told)
    assert all(any(verb in line for verb in ("ower", "aise", "ask")) for line in told)
    _, again = look(watch, step=4, **report)
    assert again == []


def test_it_looks_at_its_interval_only_and_never_at_zero():
    report, _ = look(hook(every=4), step=3, rows=SPREAD)
    assert not report.looked_at
    report, _ = look(hook(every=4), step=4, rows=SPREAD)
    assert report.looked_at
    report, _ = look(hook(every=0), step=4, rows=SPREAD)
    assert not report.looked_at


def test_pairs_per_image_are_counted_unless_the_method_says():
    pairs = SimpleNamespace(src=torch.zeros(30))
    report = StepReport(1, {}, 8, pairs=pairs, micro_samples=4)
    assert measure(report)["pairs_per_image"] == 7.5
    report.scalars["pairs_per_image"] = 3.0
    assert "pairs_per_image" not in measure(report)


def test_no_rows_and_a_single_row_measure_nothing():
    assert measure(StepReport(1, {}, 4)) == {}
    assert measure(StepReport(1, {}, 4, rows=torch.ones(1, 5))) == {}


def test_features_that_are_not_finite_raise_the_alarm():
    report, told = look(hook(), step=3, rows=torch.full((5, 4), float("nan")))
    assert "feature std nan" in told[0]
    assert "effective_rank" not in report.scalars


def test_alarms_reach_the_user_of_a_run_and_the_run_goes_on(tmp_path, capsys):
    run = pretrain(config(health={"every": 1, "min_rank": 1000.0}), work_dir=tmp_path)
    assert run.reason == "finished"
    assert capsys.readouterr().err.count("health alarm at step 1: effective rank") == 1
    assert all(0 < line["feature_std"] < 2 for line in read_scalars(tmp_path))


def test_looking_does_not_change_the_run(tmp_path):
    from engine_dummy import weights

    looked = pretrain(config(health={"every": 1}), work_dir=tmp_path / "a").checkpoint
    blind = pretrain(config(health={"every": 0}), work_dir=tmp_path / "b").checkpoint
    a, b = weights(looked), weights(blind)
    assert all(torch.equal(a.flat[name], b.flat[name]) for name in a.flat)
