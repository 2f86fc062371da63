"""The code and the tables of the pages on representation measures and Core-tuning."""

from __future__ import annotations

import contextlib
import io
import re
from dataclasses import asdict

from docs.pages import ROOT, blocks

from densecl.methods.finetune.pixel_contrast import CoreTuning
from densecl.transfer.features import FrozenInput
from densecl.transfer.measures.task import MeasuresSpec

MEASURES = (ROOT / "docs/metrics/measures.md").read_text()
TUNING = (ROOT / "docs/metrics/core_tuning.md").read_text()


def test_the_relation_runs_as_written():
    (code,) = (block.text for block in blocks(MEASURES) if block.language == "python")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})
    assert "au_spearman_v1, defined by densecl" in printed.getvalue()


def test_every_column_has_its_line():
    spec = MeasuresSpec(FrozenInput({"type": "ResNet"}), purity=True)
    lines = re.findall(r"^\| ([^|]+) \|", MEASURES, flags=re.MULTILINE)
    written = {line.strip("* ") for line in lines}
    for column in spec.columns:
        assert re.sub(r" \((geometric|same|feature)\)$", "", column.title) in written


def test_every_setting_of_core_tuning_is_listed_with_its_default():
    lines = re.findall(r"^\| (`[^|]+`) \| ([^|]+) \|", TUNING, flags=re.MULTILINE)
    listed = {}
    for names, values in lines:
        keys = re.findall(r"`(\w+)`", names)
        listed |= dict(zip(keys, (float(v) for v in values.split(",")), strict=True))
    assert listed == asdict(CoreTuning())
