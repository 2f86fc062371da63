from __future__ import annotations

import math

import pytest
from report.evaluations import HOSTILE, LONG, PERMUTED, edit

from densecl.report import tables
from densecl.report.number import Grid, Interval, Number
from densecl.report.reader import read_evaluation


def result_of(folder, name, position=0):
    protocols = read_evaluation(folder).protocols
    return next(p for p in protocols if p.name == name).results[position]


def texts(grid: Grid):
    return [[str(cell) for cell in row] for row in grid.rows]


def column(grid, heading):
    place = [h.text for h in grid.headings].index(heading)
    return [str(row[place]) for row in grid.rows]


def all_grids(folder):
    evaluation = read_evaluation(folder)
    yield tables.verdicts(evaluation)
    yield tables.loaded(evaluation)
    yield tables.refused(evaluation)
    yield tables.provenance(evaluation)
    for protocol in evaluation.protocols:
        for group in protocol.curves():
            yield tables.efficiency(group)
        for result in protocol.results:
            makers = (tables.results, tables.by_class, tables.single_items, tables.every_run)
            yield from (make(result) for make in (*makers, tables.search))
            yield from (grid for _, grid in tables.confusions(result))


def test_every_number_of_every_table_stands_with_its_protocol(folder):
    found = [grid for grid in all_grids(folder) if grid is not None]
    numbers = 0
    for grid in found:
        for cells in grid.columns():
            sources = {c.source for c in cells if isinstance(c, Number | Interval)}
            assert len(sources) <= 1, grid.caption
            assert all(source.protocol for source in sources)
            numbers += sum(isinstance(c, Number | Interval) for c in cells)
    assert numbers > 500


def test_the_verdicts_hold_no_numbers(folder):
    grid = tables.verdicts(read_evaluation(folder))
    assert not [c for row in grid.rows for c in row if isinstance(c, Number | Interval)]
    assert column(grid, LONG)[:3] == ["better"] * 3
    assert column(grid, HOSTILE)[:5] == ["worse"] * 3 + ["inconclusive", "–"]
    better = column(grid, "controls that are better")
    assert better == ["scratch-long"] * 3 + ["none"] + ["–"] * 5
    rows = texts(grid)
    assert rows[4][1:4] == ["better (unfinished)", "–", "inconclusive (unfinished)"]
    assert rows[6][1] == "described"
    assert rows[7][:2] == ["Video label propagation (propagation_davis)", "not run"]
    assert rows[8][1] == "out of date"
    assert rows[5][0] == "Measures of the representation (position leak, measures_streets)"


def test_the_result_table_shows_score_difference_interval_verdict_and_rate(folder):
    grid = tables.results(result_of(folder, "fcn_streets"))
    assert [h.text for h in grid.headings] == [
        "row", "mIoU", "difference to scratch", "95 % interval", "verdict", "learning rate", "n",
    ]  # fmt: skip
    assert texts(grid)[0] == ["scratch", "0.283", "–", "–", "reference", "0.003*", "3"]
    assert texts(grid)[4] == [
        HOSTILE, "0.253", "−0.030", "−0.041 to −0.019", "worse", "0.003*", "3",
    ]  # fmt: skip
    assert grid.kinds == ["reference", "control", "control", "", "", ""]


def test_further_columns_follow_and_no_rate_is_shown_where_there_is_none(folder):
    grid = tables.results(result_of(folder, "retrieval_streets"))
    assert [h.text for h in grid.headings][-2:] == ["mIoU, Hungarian", "n"]
    assert "learning rate" not in [h.text for h in grid.headings]
    assert texts(grid)[4][3:5] == ["–", "inconclusive (one pair)"]
    assert texts(grid)[5][1:] == ["–", "–", "–", "inconclusive (no pair)", "–", "0"]


def test_a_column_says_its_unit_direction_and_digits(folder):
    grid = tables.results(result_of(folder, "measures_streets"))
    leak = grid.headings[1]
    assert (leak.text, leak.note) == ("position leak (R2)", "lower is better")
    assert texts(grid)[1][1:4] == ["0.31", "−0.30", "−0.35 to −0.25"]
    rank = next(h for h in grid.headings if h.text == "effective rank")
    assert rank.note == "describes"
    assert column(grid, "effective rank") == ["4.2", "41.7", "–"]


def test_a_column_that_describes_has_no_verdict(folder):
    grid = tables.results(result_of(folder, "ranks_streets"))
    assert [h.text for h in grid.headings] == ["row", "effective rank", "n"]


def test_classes_have_names_dashes_and_shades(folder):
    grid = tables.by_class(result_of(folder, "fcn_streets"))
    assert [h.text for h in grid.headings][:3] == ["row", "sky", "building"]
    assert str(grid.rows[1][5]) == "–"
    assert grid.rows[1][5].shade is None
    assert grid.rows[0][1].shade == grid.rows[0][1].value
    assert tables.by_class(result_of(folder, "prompts_streets")) is None


def test_rows_of_a_confusion_matrix_are_percent_of_the_true_class(folder):
    result = result_of(folder, "retrieval_streets")
    found = dict(tables.confusions(result))
    assert list(found) == [score.name for score in result.scores][:5]
    matrix = next(s for s in result.scores if s.name == LONG).data["confusion"]
    for line, counts in zip(found[LONG].rows, matrix, strict=True):
        if sum(counts) == 0:
            assert [str(cell) for cell in line[1:]] == ["–"] * 11
            continue
        shares = [100 * count / sum(counts) for count in counts]
        assert [cell.value for cell in line[1:]] == pytest.approx(shares)
        assert math.fsum(cell.shade for cell in line[1:]) == pytest.approx(1)


def test_efficiency_keeps_each_share_in_its_own_column(folder):
    protocol = read_evaluation(folder).protocols[0]
    (group,) = protocol.curves()
    grid = tables.efficiency(group)
    assert [h.text for h in grid.headings[1:]] == [
        "5 % of the labels", "10 % of the labels", "all labels",
    ]  # fmt: skip
    sources = [next(iter({c.source for c in cells})) for cells in list(grid.columns())[1:]]
    assert len(set(sources)) == 3
    assert {source.protocol for source in sources} == {protocol.hash}


def test_items_are_averaged_over_pairs_and_cut_at_a_length(folder):
    grid = tables.single_items(result_of(folder, "retrieval_streets"))
    assert texts(grid) == [["clip <a>", "0.200"]]
    many = {f"frame {k}": {"miou": k / 100} for k in range(50)}
    more = {f"frame {k}": {"miou": k / 100 + 0.2} for k in range(50)}
    rows = {LONG: {"seed0": many, "seed1": more}, "PixPro": {"seed0": {"frame 1": {"miou": 0.5}}}}
    edit(folder / "retrieval_streets/all/items.json", lambda value: value.update(rows=rows))
    grid = tables.single_items(result_of(folder, "retrieval_streets"))
    assert texts(grid)[:2] == [["frame 0", "0.100", "–"], ["frame 1", "0.110", "0.500"]]
    assert len(grid.rows) == 40
    assert grid.notes == ["10 more in items.json."]


def test_every_run_stands_under_its_seed_and_subset(folder):
    result = result_of(folder, "retrieval_streets")
    grid = tables.every_run(result)
    assert [(h.text, h.note) for h in grid.headings[1:]] == [
        ("seed 0", "every 10"), ("seed 1", "every 11"), ("seed 2", "every 12"),
    ]  # fmt: skip
    line = {str(row[0]): [str(c) for c in row[1:]] for row in grid.rows}
    assert line[LONG] == ["0.206", "0.210", "0.214"]
    assert line[HOSTILE] == ["0.150", "–", "–"]
    assert line["PixPro"] == ["–"] * 3


def test_the_search_is_shown_where_there_was_a_choice(folder):
    grid = tables.search(result_of(folder, "fcn_streets"))
    assert [h.text for h in grid.headings] == ["row", "0.001", "0.003", "chosen"]
    assert texts(grid)[2] == [PERMUTED, "0.200", "0.220", "0.003*"]
    assert tables.search(result_of(folder, "retrieval_streets")) is None


def test_what_was_loaded_is_shown_in_words(folder):
    grid = tables.loaded(read_evaluation(folder))
    line = texts(grid)[0]
    assert line[1:5] == ["DenseCL", "densecl", "online", "62 of 62"]
    assert line[5] == "channel order RGB; mean 123.675, 116.28, 103.53; std 58.395, 57.12, 57.375"
    assert texts(grid)[2][1] == "–"
    edit(folder / "evaluation.json", lambda value: value.update(rows=[]))
    assert tables.loaded(read_evaluation(folder)) is None


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "–"),
        ({}, "–"),
        ([], "–"),
        (0, "0"),
        (True, "yes"),
        (0.50, "0.5"),
        ([1.0, "a"], "1, a"),
        ({"loaded": 60, "needed": 62}, "loaded 60, needed 62"),
    ],
)
def test_settings_of_any_kind_become_text(value, said):
    assert tables.plain(value) == said


def test_ids_of_sections_are_unique_and_plain(folder):
    protocols = read_evaluation(folder).protocols
    protocols[1].name = protocols[0].name = "Ünter <p>"
    ids = [tables.protocol_id(k, protocol) for k, protocol in enumerate(protocols, 1)]
    assert len(set(ids)) == len(ids)
    assert ids[0] == "p1--nter--p"
