"""The quickstart at toy sizes: stopped in the middle, taken up again, and what it leaves."""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

TOOLS = Path(__file__).resolve().parents[1] / "tools"
MODULES = ("quickstart_parts", "quickstart_pictures", "quickstart_scans", "quickstart")


@pytest.fixture(scope="module")
def modules():
    """The scripts as modules, which import each other by their plain names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TOOLS))
        found = SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
        yield found
    for name in MODULES:
        del sys.modules[name]


@pytest.fixture(scope="module")
def run(modules, tmp_path_factory):
    """(folder, what the second call printed, files of the first call with their times)."""
    root = tmp_path_factory.mktemp("quickstart")
    out = root / "out"
    whole = modules.quickstart_scans.pretrain_into

    def stopped(folder, name, *rest):
        if name == modules.quickstart_scans.TAUGHT:
            raise KeyboardInterrupt
        return whole(folder, name, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DENSECL_CACHE", str(root / "cache"))
        patch.setattr("sys.argv", ["quickstart.py", "--trial", "--out", str(out)])
        patch.setattr(modules.quickstart_scans, "pretrain_into", stopped)
        assert modules.quickstart.main() == 130
        before = {path: path.stat().st_mtime_ns for path in kept(out)}
        patch.setattr(modules.quickstart_scans, "pretrain_into", whole)
        lines: list[str] = []
        patch.setattr("builtins.print", lambda *words, **_: lines.append(" ".join(map(str, words))))
        assert modules.quickstart.main() == 0
    return out, "\n".join(lines), before


def kept(out: Path) -> list[Path]:
    """What no second call may make again: weights and fine-tuning runs."""
    return [*out.glob("*/step_*.pth"), *out.glob("*/*/cells/*.json")]


def test_a_stopped_quickstart_goes_on_without_repeating_what_is_finished(run):
    out, _, before = run
    assert len(before) > 6  # both 2D runs, their cells, and PointContrast
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(kept(out)) > len(before)


def test_summary_and_report_hold_both_halves_as_demos(run):
    out, _, _ = run
    summary = json.loads((out / "summary.json").read_text())
    for half, methods in (
        ("2d", ["MoCo v2", "DenseCL"]),
        ("3d", ["PointContrast", "SLidR (teacher: DenseCL)"]),
    ):
        names = [row["name"] for row in summary[half]["rows"]]
        assert names[0] == summary[half]["reference"] == "scratch"
        assert names[-2:] == methods
        assert "scratch-long" in names
        assert f"{methods[0]}, permuted" in names
        assert summary[half]["demo"]
        assert summary[half]["complete"]
        assert summary[half]["split"] == "test"
    report = (out / "table.md").read_text()
    assert re.findall(r"^## (\dD)", report, re.MULTILINE) == ["2D", "3D"]
    assert report.count("**demo**") == 2
    assert "| SLidR (teacher: DenseCL) |" in report


def test_slidr_is_taught_by_the_densecl_of_the_first_half_on_the_voxels_of_pointcontrast(run):
    out, _, _ = run
    (student,) = out.glob("slidr_*/last.pth")
    (other,) = out.glob("pointcontrast_*/last.pth")
    student, other = (torch.load(f, weights_only=True)["meta"] for f in (student, other))
    taught_by = Path(student["teacher"]["path"])
    assert taught_by.parent == next(out.glob("densecl_*"))
    sizes = [
        (m["voxels"]["size"], m["voxels"]["features"], m["backbone"]) for m in (student, other)
    ]
    assert sizes[0] == sizes[1]


def test_everything_that_it_says_it_wrote_is_there(run):
    out, text, _ = run
    for heading, least in (("checkpoints", 4), ("exports", 6), ("pictures", 7), ("tables", 2)):
        (line,) = re.findall(rf"^{heading}: +(.*)$", text, re.MULTILINE)
        files = [Path(name) for name in line.split(", ")]
        assert len(files) >= least
        assert all(file.stat().st_size > 100 for file in files)
    last = text.splitlines()[-1]
    assert str(out) in last
    assert "densecl pretrain --data" in last
    assert "pointcl pretrain --data" in last


def test_every_announced_part_is_timed_and_none_else(run, modules):
    out, text, _ = run
    seconds = json.loads((out / "summary.json").read_text())["seconds"]
    expected = modules.quickstart_pictures.PARTS | modules.quickstart_scans.PARTS
    assert list(seconds) == list(expected)
    assert f"== {len(expected)}/{len(expected)} pictures of scans" in text


def test_the_parts_fit_into_twenty_minutes_of_two_cores(modules):
    flat, deep = modules.quickstart_pictures.PARTS, modules.quickstart_scans.PARTS
    assert sum(deep.values()) <= 9 * 60
    assert sum(flat.values()) + sum(deep.values()) <= 20 * 60


def test_time_left_follows_the_pace_of_whole_parts_and_ignores_skipped_ones(modules):
    clock = modules.quickstart_parts.Clock({"a": 10.0, "b": 20.0, "c": 30.0})
    assert clock.left() == 60.0
    clock.seconds["a"] = 0.1  # finished by an earlier call
    assert clock.left() == 50.0
    clock.seconds["b"] = 40.0  # half as fast as expected
    assert clock.left() == 60.0
    with pytest.raises(KeyError), clock.part("d"):
        pass


def test_a_fault_of_the_user_is_one_message(modules, monkeypatch, capsys):
    from densecl.errors import UsageError

    def fail(*_):
        raise UsageError("no room", fix="make some")

    monkeypatch.setattr("sys.argv", ["quickstart.py"])
    monkeypatch.setattr(modules.quickstart_pictures, "run", fail)
    assert modules.quickstart.main() == 2
    assert capsys.readouterr().err.startswith("error: no room")
