from __future__ import annotations

import json

import numpy as np
import pytest

from densecl.studies.report import mean_over_folds
from densecl.transfer.identity import Identity
from densecl.transfer.table import Row, Table

BUDGETS = "budgets = (2, 4)"
QUANTILE = {1: 12.7062047, 2: 4.3026527}
"""97.5 % quantile of Student's t by degrees of freedom."""


def student_interval(values) -> list[float]:
    values = np.asarray(values, dtype=float)
    half = QUANTILE[len(values) - 1] * values.std(ddof=1) / np.sqrt(len(values))
    return [values.mean() - half, values.mean() + half]


TOY = Identity("toy", "finetune", 1, {})


def table(scores: dict[str, dict], split: str = "test", cells: tuple[int, int] = (4, 4)) -> Table:
    rows = [Row(name, own, iou=[0.5, float("nan")], seconds=1.0) for name, own in scores.items()]
    seconds = {"finetuning": 1.0, "pretraining": 0.0}
    return Table(rows, "scratch", {}, split, cells, test_reads=1, seconds=seconds, identity=TOY)


PAIRS = [(0, "s0"), (1, "s1"), (2, "s2")]


def test_the_mean_over_folds_equals_an_independent_computation():
    random = np.random.default_rng(0)
    scores = random.uniform(0.2, 0.6, (3, 2, 3))  # fold, row, pair
    tables = [
        table({n: dict(zip(PAIRS, own, strict=True)) for n, own in zip("ab", fold, strict=True)})
        for fold in scores
    ]
    for each in tables:
        each.reference = "a"
    mean = mean_over_folds(tables)
    by_pair = scores.mean(axis=0)
    found = mean.difference(mean.rows[1])
    differences = by_pair[1] - by_pair[0]
    assert mean.rows[0].mean == pytest.approx(by_pair[0].mean())
    assert found.mean == pytest.approx(differences.mean())
    assert found.interval == pytest.approx(student_interval(differences))
    assert found.count == 3


def test_only_pairs_and_rows_that_every_fold_has_are_averaged():
    first = table({"scratch": dict.fromkeys(PAIRS, 0.4), "x": dict.fromkeys(PAIRS[:2], 0.5)})
    second = table({"scratch": dict.fromkeys(PAIRS[1:], 0.6)})
    mean = mean_over_folds([first, second])
    assert [row.name for row in mean.rows] == ["scratch"]
    assert mean.rows[0].scores == {PAIRS[1]: 0.5, PAIRS[2]: 0.5}
    assert mean.cells == (8, 8)


def test_validation_scores_are_not_mixed_with_test_scores():
    done = table({"scratch": dict.fromkeys(PAIRS, 0.4)})
    started = table({"scratch": dict.fromkeys(PAIRS, 0.9)}, "validation", (1, 4))
    mean = mean_over_folds([started, done])
    assert mean.split == "test"
    assert mean.rows[0].mean == pytest.approx(0.4)
    assert not mean.complete


def test_folds_that_score_different_classes_have_no_mean(study, quick):
    other = (
        "folds[1] |= {_p: dict(type='LabelledList', root='.', path=f'b/{_p}.txt', "
        "classes=['left', 'middle', 'right']) for _p in ('train', 'val', 'test')}"
    )
    report = study(other)
    assert report.complete
    assert report.means == {}
    assert set(report.tables) == {("probe 50%", "a"), ("probe 50%", "b")}
    assert "No mean over the folds" in report.path.read_text()
    (protocol,) = json.loads((study.out / "study.json").read_text())["protocols"]
    assert protocol["mean_over_folds"] is None


def test_every_number_of_the_summary_follows_from_the_cells(study, quick):
    study(BUDGETS, "seeds = (0, 1, 2)")
    summary = json.loads((study.out / "study.json").read_text())
    (protocol,) = summary["protocols"]
    by_fold = {}
    for fold, found in protocol["folds"].items():
        assert found["split"] == "test"
        rows = {row["name"]: np.array(row["miou_seeds"]) for row in found["rows"]}
        by_fold[fold] = rows
        for row in found["rows"][1:]:
            differences = rows[row["name"]] - rows["random init"]
            assert row["miou_mean"] == pytest.approx(rows[row["name"]].mean())
            assert row["diff_to_scratch"] == pytest.approx(differences.mean())
            interval = student_interval(differences)
            assert row["interval"] == pytest.approx(interval)
            better, worse = interval[0] > 0, interval[1] < 0
            expected = "better" if better else "worse" if worse else "inconclusive"
            assert row["verdict"] == expected
    for row in protocol["mean_over_folds"]["rows"]:
        pairs = (by_fold["a"][row["name"]] + by_fold["b"][row["name"]]) / 2
        assert row["miou_seeds"] == pytest.approx(pairs.tolist())
    points = protocol["curves"]["a"]["points"]
    assert [(p["method"], p["steps"]) for p in points] == [
        ("MoCo v2", 2),
        ("MoCo v2", 4),
        ("shuffled", 2),
        ("shuffled", 4),
    ]
    assert points[0]["miou_mean"] == pytest.approx(by_fold["a"]["MoCo v2, 2 steps"].mean())


def test_the_report_names_rows_data_search_and_seconds(study, quick):
    text = study("protocols[0]['decays'] = (1e-4, 1e-3)").path.read_text()
    assert "- shuffled: `mocov2_r18w32_1xb32-500s_streets-64px`, 4 steps;" in text
    assert "method.shuffle_pairs=True" in text
    assert "Fold a: 12 unlabelled, 6 train, 6 val, 6 test." in text
    assert "Weight decay: grid 0.0001, 0.001 for every row, chosen on validation." in text
    assert "The same search for every row: validation mIoU at each decay, first pair." in text
    assert "| MoCo v2 | 0 | 4 | " in text  # two seeds of two seconds each


def test_label_subsets_stand_beside_the_table_by_name(study, quick, pictures):
    study()
    files = sorted((study.out / "tables" / "a_probe_50pct" / "subsets").glob("*.txt"))
    assert [file.name for file in files] == ["50pct-seed0.txt", "50pct-seed1.txt"]
    names = files[0].read_text().split()
    assert len(names) == 3
    assert set(names) < set((pictures / "a" / "train.txt").read_text().split())


def test_transductive_scores_are_marked(study, quick):
    text = study(
        "folds = [dict(name='a', unlabelled='b/unlabelled.txt', train='a/train.txt',"
        " val='b/train.txt', transductive=True)]"
    ).path.read_text()
    assert "6 of the scored images were among the unlabelled ones." in text
    assert "mIoU on the validation split" in text
