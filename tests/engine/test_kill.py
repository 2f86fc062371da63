from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_dummy import weights
from engine_kill import STEPS, sections

from densecl.engine.checkpoint import list_checkpoints, newest_valid
from densecl.engine.hooks.scalars import read_scalars
from densecl.engine.runner import pretrain

SCRIPT = Path(__file__).with_name("engine_kill.py")


def start(folder: Path, workers: int) -> subprocess.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), str(folder), str(workers)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)


def kill_later(folder: Path, workers: int, pause: float) -> None:
    """Kill a run some time after it wrote its next checkpoint, or let it end."""
    before = list_checkpoints(folder)
    process = start(folder, workers)
    while process.poll() is None and list_checkpoints(folder) == before:
        time.sleep(0.01)
    time.sleep(pause)
    process.send_signal(signal.SIGKILL)
    process.wait()


def finish_and_compare(folder: Path, reference: Path, workers: int) -> None:
    found = newest_valid(folder)
    assert found is not None
    kept = found[1]["step"]
    run = pretrain(sections(workers), work_dir=folder, resume=True)
    a, b = weights(run.checkpoint), weights(reference)
    assert kept > 0
    assert [name for name in b.flat if not torch.equal(a.flat[name], b.flat[name])] == []
    lines = read_scalars(folder)
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))


def test_a_killed_run_ends_on_the_same_weights(tmp_path):
    reference = pretrain(sections(0), work_dir=tmp_path / "whole").checkpoint
    kill_later(tmp_path / "killed", 0, 0.05)
    finish_and_compare(tmp_path / "killed", reference, 0)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_killed_ten_times_ends_on_the_same_weights(tmp_path, workers):
    reference = pretrain(sections(0), work_dir=tmp_path / "whole").checkpoint
    random = np.random.default_rng(workers)
    last = 0
    for _ in range(10):
        kill_later(tmp_path / "killed", workers, random.uniform(0.0, 0.1))
        found = newest_valid(tmp_path / "killed")
        assert found is not None
        assert found[1]["step"] >= last
        last = found[1]["step"]
    finish_and_compare(tmp_path / "killed", reference, workers)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_process_group_ends_cleanly(tmp_path, number):
    folder = tmp_path / "run"
    command = [sys.executable, str(SCRIPT), str(folder), "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while process.poll() is None and not list_checkpoints(folder):
        time.sleep(0.01)
    os.killpg(process.pid, number)
    _, said = process.communicate()
    assert process.returncode == 0, said
    assert "interrupted:" in said
    assert "--resume" in said
