from __future__ import annotations

import pytest
import torch
from engine_dummy import config

from densecl.engine.checkpoint import load_checkpoint, tensor_bytes
from densecl.engine.preflight import validate
from densecl.engine.runner import pretrain
from densecl.engine.step import NonFiniteLossError
from densecl.errors import UsageError


@pytest.mark.parametrize("workers", [0, 1])
def test_a_rehearsal_reports_and_writes_nothing(tmp_path, workers):
    torch.manual_seed(3)
    state = torch.get_rng_state()
    sections = config(train={"accumulate": 2}, loader={"num_workers": workers})
    report = validate(sections, work_dir=tmp_path / "run")
    assert not list(tmp_path.iterdir())
    assert torch.equal(torch.get_rng_state(), state)
    assert (report.samples, report.steps, report.device) == (20, 6, "cpu")
    assert report.step_seconds > 0
    assert report.total_seconds == pytest.approx(6 * report.step_seconds)
    assert report.peak_memory > 2**20
    assert {"loss", "feature_std", "positive_similarity"} <= set(report.scalars)
    assert "20 samples" in str(report)


@pytest.mark.parametrize("kind", ["SGD", "LARS", "AdamW"])
def test_the_expected_size_is_that_of_the_written_checkpoint(tmp_path, kind):
    sections = config(optim={"type": kind, "lr": 0.01})
    report = validate(sections, work_dir=tmp_path)
    content = load_checkpoint(pretrain(sections, work_dir=tmp_path).checkpoint)
    actual = tensor_bytes(content["method"]) + tensor_bytes(content["optimizer"])
    # AdamW also counts steps, four bytes a parameter tensor.
    assert report.checkpoint_bytes == pytest.approx(actual, abs=64)
    assert report.disk_bytes == 4 * report.checkpoint_bytes


def test_a_rehearsal_refuses_what_the_run_would_refuse(tmp_path):
    with pytest.raises(UsageError, match="20 samples"):
        validate(config(loader={"batch_size": 32}), work_dir=tmp_path)
    with pytest.raises(NonFiniteLossError, match="step 2"):
        validate(config(method={"explode_at": 4}), work_dir=tmp_path)


def test_a_rehearsal_does_not_change_the_run(tmp_path):
    from engine_dummy import weights

    first = weights(pretrain(config(), work_dir=tmp_path / "a").checkpoint).flat
    validate(config(), work_dir=tmp_path / "b")
    second = weights(pretrain(config(), work_dir=tmp_path / "b").checkpoint).flat
    assert all(torch.equal(first[name], second[name]) for name in first)
