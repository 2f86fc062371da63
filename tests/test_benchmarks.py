"""The benchmarks run, and what they compare is equal; their times are nobody's business here."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[1] / "tools" / "benchmarks"
SCRIPTS = [
    "clustering",
    "evaluation",
    "losses",
    "pairs",
    "pairs3d",
    "pixpro",
    "protocols",
    "retrieval",
    "slidr_step",
    "sparse",
    "step",
    "views",
]


@pytest.fixture
def load(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    threads = torch.get_num_threads()

    def load(name):
        spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    yield load
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", SCRIPTS)
def test_benchmark_prints_its_tables_and_its_forms_agree(load, capsys, monkeypatch, name):
    timing = load("timing")
    # a process of its own for each peak takes seconds; one is started below
    monkeypatch.setattr(timing, "peak_mib", lambda *_: 1.0)
    load(name).main(["--quick"])
    printed = capsys.readouterr().out
    assert "thread(s)" in printed
    tables = printed.split("\n## ")[1:]
    assert len(tables) == 2
    for table in tables:
        lines = [line for line in table.splitlines() if line.startswith("|")]
        assert len(lines) > 2
        assert {line.count("|") for line in lines} == {lines[0].count("|")}


def test_the_tables_of_pairs_hold_times(load, capsys):
    load("timing")
    load("pairs").main(["--quick"])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    for line in (line for line in lines if not line.startswith("| maps")):
        times = [cell.strip() for cell in line.split("|")[2:-2]]
        assert all(cell == "-" or float(cell.removesuffix(" MiB")) >= 0 for cell in times)


def test_peak_memory_is_that_of_the_measured_step(load):
    timing = load("timing")
    script = str(FOLDER / "losses.py")
    # 2048 x 2048 scores are 16 MiB; the whole-matrix form holds at least two of them
    whole = timing.peak_mib(script, 0, "whole", 2048, 2048, 8)
    streamed = timing.peak_mib(script, 0, "streamed", 2048, 2048, 8)
    assert whole > 30
    assert streamed < 16


def test_forms_alternate_and_medians_ignore_the_warm_round(load):
    seen = []
    forms = {"a": lambda: seen.append("a"), "b": lambda: seen.append("b")}
    result = load("timing").alternate(forms, rounds=2)
    assert seen == ["a", "b"] * 3
    assert set(result) == {"a", "b"}
    assert result["a"].cpu >= 0


@pytest.mark.parametrize("other", [[1.0, 2.1], [1.0, float("nan")]])
def test_unequal_results_stop_a_benchmark(load, other):
    timing = load("timing")
    with pytest.raises(AssertionError, match="mask"):
        timing.equal("mask", torch.tensor([1.0, 2.0]), torch.tensor(other))
    assert timing.equal("mask", torch.tensor([1.0]), torch.tensor([1.0])) == "0e+00"
