"""The code and tables of the page on sparse voxels."""

from __future__ import annotations

import contextlib
import io
import re

import torch
from docs.pages import ROOT, blocks, command_lines, words

from pointcl.cli import main
from pointcl.models import Res16UNet
from pointcl.registry import BACKBONES
from pointcl.weights.targets import TARGETS

PAGE = (ROOT / "docs" / "sparse.md").read_text()


def python_block(part: str) -> str:
    found = [block.text for block in blocks(PAGE) if block.language == "python"]
    return next(text for text in found if part in text)


def section(heading: str) -> str:
    return PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def test_first_steps_run_in_about_fifteen_lines():
    code = python_block("# sparse_first_steps.py")
    statements = [line for line in code.splitlines() if line.strip() and line[0] not in " #"]
    assert len(statements) <= 16
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})
    assert "torch.Size([6500, 24]) torch.Size([6500, 120])" in printed.getvalue()


def test_loading_and_export_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = Res16UNet(34, "C", 1, 64, width=4)
    torch.save({"model_points": net.state_dict(), "epoch": 49, "config": {}}, "model.pt")
    names: dict = {}
    exec(python_block("load_backbone"), names)
    assert names["backbone"].config()["width"] == 4
    lines = [
        line for block in blocks(PAGE) if block.language == "bash" for line in command_lines(block)
    ]
    assert lines
    for line in lines:
        assert main(words(line)[1:]) == 0


def test_tables_list_every_backbone_and_target():
    # a control of transfer registers a network of its own
    own = [n for n, c in BACKBONES.module_dict.items() if c.__module__.startswith("pointcl.models")]
    for heading, known in (("Backbones", own), ("Export", TARGETS)):
        rows = re.findall(r"^\| `(\w+)` \|", section(heading), re.M)
        assert set(rows) == set(known)
