"""Hashes of the shipped study's cells are kept for good: hours of computing are found by them.

They change with the streets' version, and with nothing else: then, and only then, write new ones.
"""

from __future__ import annotations

import json
from pathlib import Path

from densecl.studies import read_study
from densecl.studies.folds import Fold
from densecl.studies.tables import _task, pretrainings
from densecl.transfer.cells import digest
from pointcl.studies.of_scans import SCANS

FROZEN = Path(__file__).with_name("frozen_scan_keys.json")


def test_the_hash_of_every_cell_is_what_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.__version__", "0")
    teacher = tmp_path / "teacher.pth"
    teacher.write_bytes(b"a teacher")
    config = read_study("streets_lidar", [f"files.teacher={teacher}"], kind=SCANS)
    (parts,) = config.folds
    for section in (*parts.data.values(), *parts.readings.values()):
        section.get("dataset", section)["cache"] = False  # nothing is rendered
    fold = Fold(parts, SCANS)
    cells = pretrainings(config, fold, tmp_path, "cpu")
    found = {
        f"{name}, {steps} steps, seed {seed}": cell.key
        for (name, steps), by_seed in cells.items()
        for seed, cell in by_seed.items()
    }
    for measure in config.protocols:
        task = _task(config, measure, fold, cells, "cpu")[1]
        found[measure.name] = digest(task.to_dict())
    for part in ("train", "val"):
        found[part] = fold.dataset(part).fingerprint()
    assert found == json.loads(FROZEN.read_text())
