from __future__ import annotations

import numpy as np
import pytest
from report.evaluations import LONG, edit
from scipy.stats import spearmanr

from densecl.report.markdown import markdown
from densecl.report.page import page
from densecl.report.reader import read_evaluation
from densecl.report.relation import relation
from densecl.report.words import run_title

RNG = np.random.default_rng(3)
NAMES = ("random", LONG, "PixPro")
ALIGNMENT = {name: RNG.uniform(0, 2, 3).tolist() for name in NAMES}
UNIFORMITY = {name: RNG.uniform(-3, 0, 3).tolist() for name in NAMES}


@pytest.fixture
def measured(folder):
    """Alignment and uniformity of random weights and of two rows, three seeds each."""

    def measure(value):
        plain = {"better": "none", "unit": "", "digits": 3}
        value["columns"] += [
            {"key": "alignment", "title": "alignment", **plain},
            {"key": "uniformity_all", "title": "uniformity", **plain},
        ]
        for row in value["rows"]:
            row["alignment_seeds"] = ALIGNMENT[row["name"]]
            row["uniformity_all_seeds"] = UNIFORMITY[row["name"]]

    edit(folder / "measures_streets/all/summary.json", measure)
    return folder


def scores(folder, name):
    evaluation = read_evaluation(folder)
    results = {r.share: r for p in evaluation.protocols for r in p.results if p.name == name}
    result = results["0.05"]
    runs = {score.name: score.runs["miou"] for score in result.scores}
    return [*runs["scratch"], *runs[LONG], *runs["PixPro"]]


def test_the_correlation_is_spearmans_over_rows_and_seeds(measured):
    grid = relation(read_evaluation(measured))
    assert [h.note for h in grid.headings[1:4]] == [
        f"fcn_streets, {share} of the labels" if share != "all" else "fcn_streets, all labels"
        for share in ("5 %", "10 %", "all")
    ]
    assert grid.headings[1].text == run_title("finetune")
    a, u = (np.concatenate([table[n] for n in NAMES]) for table in (ALIGNMENT, UNIFORMITY))
    ranks = np.argsort(np.argsort(a)) + np.argsort(np.argsort(u))
    y = scores(measured, "fcn_streets")
    rho = spearmanr(-ranks, y).statistic
    assert grid.rows[0][1].value == pytest.approx(rho)
    r_ay, r_uy, r_au = (spearmanr(*pair).statistic for pair in ((a, y), (u, y), (a, u)))
    partial = (r_ay - r_au * r_uy) / np.sqrt((1 - r_au**2) * (1 - r_uy**2))
    assert grid.rows[2][1].value == pytest.approx(partial)
    low, high = grid.rows[1][1].low.value, grid.rows[1][1].high.value
    assert -1 <= low <= rho <= high <= 1
    assert grid.rows[-1][1].text == "9"


def test_random_weights_of_a_seed_are_one_checkpoint_in_both_tables(measured):
    def drop(value):
        value["rows"] = [row for row in value["rows"] if row["name"] != "random"]

    edit(measured / "measures_streets/all/summary.json", drop)
    assert relation(read_evaluation(measured)).rows[-1][1].text == "6"


def test_fewer_than_four_checkpoints_are_not_related(measured):
    def keep(value):
        value["rows"] = [row for row in value["rows"] if row["name"] == LONG]

    edit(measured / "measures_streets/all/summary.json", keep)
    assert relation(read_evaluation(measured)) is None


def test_without_measures_there_is_no_section(folder):
    evaluation = read_evaluation(folder)
    assert relation(evaluation) is None
    assert "predict transfer" not in markdown(evaluation) + page(evaluation, {})


def test_both_reports_show_it_with_both_hashes(measured):
    evaluation = read_evaluation(measured)
    said = "Do the measures predict transfer?"
    assert said in markdown(evaluation)
    assert said in page(evaluation, {})
    source = relation(evaluation).rows[0][1].source.protocol
    hashes = {p.name: p.hash for p in evaluation.protocols}
    assert source == f"{hashes['measures_streets']} {hashes['fcn_streets']}"


def test_average_precision_of_each_class_has_a_table(folder):
    from densecl.report.tables import by_class

    def detect(value):
        for row in value["rows"]:
            row["iou"], row["ap_per_class"] = [], [0.1, None, 0.3]
        value["classes"] = ["car", "pedestrian", "bicyclist"]

    edit(folder / "fcn_streets/5pct/summary.json", detect)
    evaluation = read_evaluation(folder)
    (result,) = [r for p in evaluation.protocols[:1] for r in p.results if r.share == "0.05"]
    grid = by_class(result)
    assert grid.caption == "Average precision of each class"
    assert [str(cell) for cell in grid.rows[0][1:]] == ["0.10", "–", "0.30"]
    assert [h.text for h in grid.headings[1:]] == ["car", "pedestrian", "bicyclist"]
