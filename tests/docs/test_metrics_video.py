"""The code and the tables of the pages on propagation, prompts and correspondence."""

from __future__ import annotations

import contextlib
import io
import re

import pytest
from docs.pages import ROOT, blocks

from densecl.transfer.correspondence_task import CorrespondenceSpec
from densecl.transfer.prompts.task import PromptSpec
from densecl.transfer.propagation.task import PRESETS, PropagationSpec

PAGES = {
    name: (ROOT / f"docs/metrics/{name}.md").read_text()
    for name in ("propagation", "prompts", "correspondence")
}


@pytest.mark.parametrize(
    ("name", "says"),
    [("propagation", "J&F 0."), ("prompts", "IoU 0."), ("correspondence", "recall 0.")],
)
def test_the_code_runs_as_written(name, says, tmp_path, monkeypatch):
    monkeypatch.setenv("DENSECL_CACHE", str(tmp_path))
    (code,) = (block.text for block in blocks(PAGES[name]) if block.language == "python")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})
    assert printed.getvalue().splitlines()[-1].startswith(says)


@pytest.mark.parametrize(
    ("name", "run"),
    [
        ("propagation", PropagationSpec),
        ("prompts", PromptSpec),
        ("correspondence", CorrespondenceSpec),
    ],
)
def test_every_column_has_its_line(name, run):
    written = set()
    for line in re.findall(r"^\| ([^|]+) \|", PAGES[name], flags=re.MULTILINE):
        title = line.strip("* ")
        written |= {title, title.replace("at 1, 2", "at 1"), title.replace("at 1, 2", "at 2")}
    for column in run.columns:
        assert column.title in written
    verdict = re.search(r"^\| \*\*(.+?)\*\*", PAGES[name], flags=re.MULTILINE)
    assert verdict is not None
    assert verdict[1] == run.columns[0].title


def test_the_presets_are_those_of_the_page():
    table = {
        line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:5]]
        for line in PAGES["propagation"].splitlines()
        if line.startswith("| `")
    }
    columns = ("vfs-r18", "vfs-r50", "dino")
    for cell, name in zip(table["`top_k`, `temperature`"], columns, strict=True):
        assert cell == f"{PRESETS[name]['top_k']}, {PRESETS[name]['temperature']}"
    radii = [f"{PRESETS[name]['radius']:g}" for name in columns]
    for cell, radius in zip(table["`neighbourhood`, `radius`"], radii, strict=True):
        assert re.search(r"\d+", cell)[0] == radius
    assert table["`context`, first frame"][2].startswith(str(PRESETS["dino"]["context"]))
