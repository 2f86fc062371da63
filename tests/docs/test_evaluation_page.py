"""The measure that the page shows, taken out of it and run."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from docs.pages import ROOT, blocks, command_lines, words

from densecl.cli import main
from densecl.commands.evaluate import REFUSED, UNFINISHED
from densecl.models.resnet import ResNet
from densecl.transfer.of_images import PICTURES
from densecl.transfer.protocol_file import TASK

PAGE = (ROOT / "docs" / "evaluation.md").read_text()


def test_the_measure_of_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    written = [block for block in blocks(PAGE) if block.file]
    for block in written:
        (tmp_path / block.file).write_text(block.text)
    assert [block.file for block in written] == ["my_measures.py", "sameness.py"]
    torch.manual_seed(0)
    state = ResNet(depth=18, width=4).state_dict()
    torch.save(state, tmp_path / "weights.pth")
    lines = [line for b in blocks(PAGE) if b.language == "sh" for line in command_lines(b)]
    (command,) = lines
    arguments = ["weights.pth" if w == "CHECKPOINT" else w for w in words(command)]
    try:
        assert main(arguments[1:]) == 0
    finally:
        sys.modules.pop("my_measures", None)
    said = capsys.readouterr().out
    assert "Lower is better for cosine within pictures." in said
    summary = json.loads((tmp_path / "sameness/sameness/all/summary.json").read_text())
    assert summary["complete"]
    assert [row["name"] for row in summary["rows"]] == [
        "random",
        "random, batch norm re-estimated",
        "weights, permuted",
        "weights",
    ]
    assert all(0 < row["cosine_mean"] <= 1 for row in summary["rows"])


def test_the_cosine_of_the_page_is_the_mean_over_all_pairs_of_cells():
    cells = torch.nn.functional.normalize(torch.randn(5, 7), dim=0)
    by_pairs = sum(cells[:, i] @ cells[:, j] for i in range(7) for j in range(7)) / 49
    assert cells.mean(1).square().sum() == pytest.approx(float(by_pairs), abs=1e-6)


def test_the_page_names_every_run_and_every_exit_code():
    rows = [line.split("|")[1].strip() for line in PAGE.splitlines() if line.startswith("| ")]
    assert {f"`{run}`" for run in (*PICTURES.runs, TASK)} <= set(rows)
    assert {"0", str(REFUSED), "2", str(UNFINISHED), "130"} <= set(rows)
