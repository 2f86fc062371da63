"""The code, the settings and the columns of the pages on retrieval and clustering."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest
import torch
from docs.pages import ROOT, blocks

from densecl.transfer.clustering.task import OverclusteringSpec
from densecl.transfer.features import FrozenInput
from densecl.transfer.protocol_file import read_protocol
from densecl.transfer.retrieval import write_bank
from densecl.transfer.retrieval.task import RetrievalSpec

PAGES = {"retrieval": RetrievalSpec, "clustering": OverclusteringSpec}
INPUT = {item.name: item.default for item in fields(FrozenInput)}


def page(name):
    return (ROOT / "docs" / "metrics" / f"{name}.md").read_text()


@pytest.mark.parametrize("name", PAGES)
def test_settings_are_listed_with_their_defaults(name):
    defaults = {item.name: item.default for item in fields(PAGES[name])}
    settings = page(name).split("| setting |")[1].split("\n## ")[0]
    lines = re.findall(r"^\| (`[^|]+`) \| ([^|]*) \|", settings, flags=re.MULTILINE)
    assert lines
    listed = set()
    for names, value in lines:
        keys = re.findall(r"`(\w+)`", names)
        listed |= set(keys)
        assert all(key in defaults or key in INPUT for key in keys)
        if keys == ["seeds", "restarts", "iterations"]:
            assert value == "5 seeds, 1, 50"
            assert len(defaults["seeds"]) == 5
            assert (defaults["restarts"], defaults["iterations"]) == (1, 50)
        elif all(key in defaults for key in keys):
            written = value.replace("`", "").strip()
            values = [str(defaults[key]) for key in keys]
            assert written == ", ".join(values)
    assert listed >= set(defaults) - {
        "input",
        "num_classes",
        "ignore",
        "steps",
        "columns",
        "background",
        "fitted_on",
    }


@pytest.mark.parametrize("name", PAGES)
def test_columns_are_listed(name):
    if name == "retrieval":
        titles = [column.title for column in RetrievalSpec.columns]
    else:
        spec = OverclusteringSpec(FrozenInput({"type": "ResNet"}), 3)
        titles = [column.title for column in spec.columns]
    for title in titles:
        assert title in page(name)


def test_python_runs_as_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_bank("bank", [(torch.randn(50, 4).half(), torch.rand(50, 3).half())])
    for name, given in (("retrieval", "queries"), ("clustering", "rows")):
        (code,) = (block.text for block in blocks(page(name)) if block.language == "python")
        place = {given: torch.randn(400, 4)}
        exec(code, place)
        assert place["found"] is not None


@pytest.mark.parametrize(
    "protocol",
    ["retrieval_streets", "retrieval_camvid", "overclustering_streets", "unsupervised_streets"],
)
def test_shipped_protocols_make_their_runs(protocol):
    file = read_protocol(protocol)
    known = {"backbone": {"type": "ResNet"}, "mean": (0.0,) * 3, "std": (1.0,) * 3}
    task = file.kind.task_for(file, known, 11, "cpu")
    assert isinstance(task, RetrievalSpec if "retrieval" in protocol else OverclusteringSpec)
    assert task.input.grid == 8
    assert task.num_classes == 11
    assert file.learns == ("retrieval" in protocol)
