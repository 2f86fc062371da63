from __future__ import annotations

import json
import math

import pytest
from report.evaluations import HOSTILE, LONG, PERMUTED, edit, write_evaluation, write_json

from densecl.errors import UsageError
from densecl.report.reader import natural, read_evaluation
from densecl.report.record import finite, fraction_of


def by_name(evaluation, name):
    return next(p for p in evaluation.protocols if p.name == name)


def test_tables_are_read_with_their_state(folder):
    evaluation = read_evaluation(folder)
    states = {p.name: [r.state for r in p.results] for p in evaluation.protocols}
    assert states == {
        "fcn_streets": ["done"] * 3,
        "retrieval_streets": ["done"],
        "prompts_streets": ["unfinished"],
        "measures_streets": ["done"],
        "ranks_streets": ["done"],
        "propagation_davis": ["missing"],
        "probe_old": ["stale"],
    }
    assert evaluation.compared == [LONG, HOSTILE, "PixPro"]
    assert evaluation.refused == [("caffe <net>", "61 of 62 tensors\n  to fix: fc.weight & bias")]


def test_numbers_of_a_table_that_another_protocol_made_are_not_read(folder):
    (result,) = by_name(read_evaluation(folder), "probe_old").results
    assert result.scores == []
    assert not result.shown


def test_a_table_may_have_a_hash_of_its_own(folder):
    def give(value):
        value["protocols"][6]["tables"][0]["hash"] = "0000000000aaaaaaaaaa"

    edit(folder / "evaluation.json", give)
    (result,) = by_name(read_evaluation(folder), "probe_old").results
    assert result.state == "done"
    assert result.source.protocol == "0000000000aaaaaaaaaa"


def test_rows_are_reference_control_or_compared(folder):
    result = by_name(read_evaluation(folder), "fcn_streets").results[0]
    kinds = {score.name: score.kind for score in result.scores}
    assert kinds == {
        "scratch": "reference",
        "scratch-long": "control",
        PERMUTED: "control",
        LONG: "",
        HOSTILE: "",
        "PixPro": "",
    }


def test_without_a_record_of_rows_all_but_the_reference_are_compared(folder):
    edit(folder / "evaluation.json", lambda value: value.update(rows=[]))
    evaluation = read_evaluation(folder)
    assert set(evaluation.compared) >= {LONG, PERMUTED, "scratch-long"}
    assert "scratch" not in evaluation.compared


def test_tables_of_before_columns_are_read_as_of_mean_iou(folder):
    path = folder / "fcn_streets/5pct/summary.json"
    edit(path, lambda value: value.pop("columns") and value.pop("classes"))
    result = by_name(read_evaluation(folder), "fcn_streets").results[0]
    assert [column.key for column in result.columns] == ["miou"]
    assert result.scores[3].means["miou"] == json.loads(path.read_text())["rows"][3]["miou_mean"]
    assert result.classes[:2] == ["class 0", "class 1"]


def test_unknown_fields_of_a_column_are_passed_over(folder):
    path = folder / "fcn_streets/5pct/summary.json"
    edit(path, lambda value: value["columns"][0].update(colour="red"))
    assert by_name(read_evaluation(folder), "fcn_streets").results[0].main.title == "mIoU"


def test_values_that_are_no_numbers_become_none(folder):
    def spoil(value):
        row = value["rows"][3]
        row["miou_mean"], row["diff_to_scratch"] = math.nan, math.inf
        row["interval"], row["iou"] = [math.nan, 1.0], [math.nan, 0.5]

    edit(folder / "fcn_streets/5pct/summary.json", spoil)
    score = by_name(read_evaluation(folder), "fcn_streets").results[0].scores[3]
    assert score.means["miou"] is None
    assert score.difference is None
    assert score.interval is None
    assert score.by_class == [None, 0.5]
    assert [finite(v) for v in (True, "1", None, -math.inf, 2)] == [None] * 4 + [2.0]


@pytest.mark.parametrize("missing", [None, "", "  "])
def test_a_protocol_without_a_hash_is_refused_by_name(folder, missing):
    edit(folder / "evaluation.json", lambda value: value["protocols"][1].update(hash=missing))
    with pytest.raises(UsageError, match=r"'retrieval_streets'.* no hash"):
        read_evaluation(folder)


def test_a_folder_without_an_evaluation_is_refused(tmp_path):
    with pytest.raises(UsageError, match="is not there"):
        read_evaluation(tmp_path / "nowhere")
    write_json(tmp_path / "evaluation.json", [])
    with pytest.raises(UsageError, match="no JSON object"):
        read_evaluation(tmp_path)
    (tmp_path / "evaluation.json").write_text("{")
    with pytest.raises(UsageError, match="no JSON object"):
        read_evaluation(tmp_path)


def test_another_schema_and_fields_of_the_wrong_kind_are_refused(folder):
    edit(folder / "evaluation.json", lambda value: value.update(schema=2))
    with pytest.raises(UsageError, match="schema 2"):
        read_evaluation(folder)
    write_evaluation(folder)
    edit(folder / "evaluation.json", lambda value: value.update(protocols=[3]))
    with pytest.raises(UsageError, match="cannot be read"):
        read_evaluation(folder)
    write_evaluation(folder)
    edit(folder / "fcn_streets/5pct/summary.json", lambda value: value["rows"][0].pop("name"))
    with pytest.raises(UsageError, match="KeyError"):
        read_evaluation(folder)


def test_pictures_come_in_the_order_of_their_list_then_by_number(folder):
    (result,) = by_name(read_evaluation(folder), "retrieval_streets").results
    assert [p.path.stem for p in result.pictures] == ["k-nn_5", "k-nn_0", "k-nn_10"]
    assert [p.title for p in result.pictures] == ["Neighbours <5>", "k-nn 0", "k-nn 10"]
    assert [p.caption for p in result.pictures] == ['A "car" & its cells', "Plain.", ""]
    (folder / "retrieval_streets/all/pictures.json").unlink()
    (result,) = by_name(read_evaluation(folder), "retrieval_streets").results
    assert [p.path.stem for p in result.pictures] == ["k-nn_0", "k-nn_5", "k-nn_10"]
    names = ["frame 10", "frame 9", "Frame 2", "10", "9"]
    assert sorted(names, key=natural) == ["9", "10", "Frame 2", "frame 9", "frame 10"]


@pytest.mark.parametrize(
    ("share", "value"),
    [
        ("0.05", 0.05),
        ("5pct", 0.05),
        ("5%", 0.05),
        ("12.5 %", 0.125),
        ("1.0", 1.0),
        ("100pct", 1.0),
        ("1e-3", 0.001),
        ("all", None),
        ("", None),
        ("0", None),
        ("7", None),
        ("1.2.3", None),
        ("5 pictures", None),
    ],
)
def test_shares_are_read_as_tables_are_filed(share, value):
    assert fraction_of(share) == value


def test_curves_join_the_shares_of_one_backbone_in_order(folder):
    def give(value):
        tables = value["protocols"][0]["tables"]
        tables.reverse()
        tables[0]["title"] = "another backbone"

    evaluation = read_evaluation(folder)
    (group,) = by_name(evaluation, "fcn_streets").curves()
    assert [result.fraction for result in group] == [0.05, 0.1, 1.0]
    assert by_name(evaluation, "retrieval_streets").curves() == []
    edit(folder / "evaluation.json", give)
    (group,) = by_name(read_evaluation(folder), "fcn_streets").curves()
    assert [result.fraction for result in group] == [0.05, 0.1]
