"""Tables of runs that are scored by something else than mIoU, and of runs that learn nothing."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from typing import ClassVar

import pytest
import torch

from densecl.errors import UsageError
from densecl.transfer.cells import digest, init_fingerprint
from densecl.transfer.columns import MIOU, Column, columns_of
from densecl.transfer.run import prepare, run_cells, run_table, write_table
from densecl.transfer.study import NO_GRID, Protocol, RowSpec, plain
from densecl.transfer.subsets import Subset
from densecl.transfer.table import ALL

ERROR = Column("error", "error", "lower", "px", 2)
COUNT = Column("count", "cells", "none", digits=0)


@dataclass(frozen=True)
class Errors:
    """Stands for a run that trains nothing: a number that its starting weights hold."""

    offset: float = 0.0
    columns: ClassVar[tuple[Column, ...]] = (ERROR, COUNT)
    backbone: ClassVar[dict] = {"type": "none"}
    steps = 0

    def to_dict(self):
        return asdict(self)

    def at(self, rate, steps=None):
        return self

    def select(self, dataset, indices=None):
        return [dataset.name(i) for i in (range(len(dataset)) if indices is None else indices)]

    def run(self, init, train, evaluation, *, seed, device):
        if init is not None and float(init["error"]) < 0:
            raise UsageError("these weights are unfit")
        trained = torch.nn.Linear(1, 1)
        start = 5.0 if init is None else float(init["error"])
        torch.nn.init.constant_(trained.bias, start + self.offset + 0.1 * seed)
        result = self.score(trained, evaluation, device)
        return {**result, "seconds": {"a": 1.0}, "feature_difference": 0.0, "diverged": False}, (
            trained
        )

    def restore(self, state, init, *, seed, device):
        trained = torch.nn.Linear(1, 1)
        trained.load_state_dict(state)
        return trained

    def score(self, trained, items, device):
        curve = {"x": [0.0, 1.0], "y": [1.0, math.nan], "xlabel": "a", "ylabel": "b"}
        return {
            "error": trained.bias.item(),
            "count": float(len(items)),
            "curves": {"c": curve},
            "items": {name: {"error": 1.0} for name in items},
        }


def weights(error):
    return lambda seed: {"error": torch.tensor(error + 0.01 * seed**2)}


ROWS = [RowSpec("random"), RowSpec("low", init=weights(1.0)), RowSpec("high", init=weights(9.0))]
ALONE = [Subset(ALL, ())]


def errors_table(tmp_path, blocks, **changes):
    options = {
        "rows": ROWS,
        "protocol": Protocol(Errors(), NO_GRID, reference="random"),
        "subsets": ALONE,
        "seeds": [0, 1, 2],
        "out_dir": tmp_path,
        "train": None,
        "val": blocks(4),
        "log": lambda text: None,
    }
    return run_table(**(options | changes))


def test_runs_without_columns_are_scored_by_miou(tiny_spec):
    assert columns_of(tiny_spec) == (MIOU,)
    assert columns_of(Errors()) == (ERROR, COUNT)


def test_less_of_an_error_is_better(tmp_path, blocks):
    table = errors_table(tmp_path, blocks)
    verdicts = {row.name: table.to_dict()["rows"][i]["verdict"] for i, row in enumerate(table.rows)}
    assert verdicts == {"random": "reference", "low": "better", "high": "worse"}
    low = table.difference(table.rows[1])
    # the difference is printed as it is: what is better is said by the verdict
    assert low.mean == pytest.approx(-4 + (0 + 0.01 + 0.04) / 3)
    assert low.interval[1] < 0


def test_every_column_has_its_mean_and_its_pairs(tmp_path, blocks):
    row = errors_table(tmp_path, blocks).to_dict()["rows"][0]
    assert row["error_mean"] == pytest.approx(5.1)
    assert row["error_seeds"] == pytest.approx([5.0, 5.1, 5.2])
    assert row["count_mean"] == 4.0
    assert row["count_seeds"] == [4.0, 4.0, 4.0]
    assert "miou_mean" not in row


def test_the_table_shows_further_columns_and_no_rate(tmp_path, blocks):
    table = errors_table(tmp_path, blocks)
    markdown = table.to_markdown()
    header = markdown.splitlines()[0]
    assert header == (
        "| row | error (px) | difference to random | 95 % interval | verdict | cells | n |"
    )
    line = next(row for row in markdown.splitlines() if row.startswith("| low "))
    assert line.startswith("| low | 1.12 | -3.98 | [")
    assert line.endswith("| better | 4 | 3 |")
    assert "Lower is better for error." in markdown
    assert "grid" not in markdown
    assert "optimistic" not in markdown
    assert table.to_dict()["columns"][0] == asdict(ERROR)
    assert table.to_dict()["rows"][0]["lr"] is None


@pytest.mark.parametrize(("better", "chosen"), [("lower", 0.5), ("higher", 4.0)])
def test_the_rate_is_chosen_the_right_way_round(tmp_path, blocks, monkeypatch, better, chosen):
    monkeypatch.setattr(Errors, "columns", (replace(ERROR, better=better),))
    monkeypatch.setattr(Errors, "at", lambda self, rate, steps=None: replace(self, offset=rate))
    protocol = Protocol(Errors(), (2.0, 0.5, 4.0), reference="random")
    table = errors_table(tmp_path, blocks, protocol=protocol)
    assert {row.choice.lr for row in table.rows} == {chosen}
    assert table.rows[0].mean == pytest.approx(5.1 + chosen)
    assert table.rate == "decay"


def test_a_number_that_only_describes_gets_no_verdict(tmp_path, blocks, monkeypatch):
    monkeypatch.setattr(Errors, "columns", (COUNT, ERROR))
    table = errors_table(tmp_path, blocks)
    assert "verdict" not in table.to_markdown()
    assert table.to_dict()["rows"][1]["verdict"] is None
    assert table.difference(table.rows[1]).verdict is None
    assert "neither more nor less" in table.to_markdown()


def test_runs_that_learn_nothing_need_no_training_part(tmp_path, blocks):
    table = errors_table(tmp_path, blocks, test=blocks(2, seed=7))
    assert table.complete
    assert table.split == "test"
    assert list(table.rows[0].scores) == [(0, ALL), (1, ALL), (2, ALL)]
    assert table.to_dict()["rows"][0]["count_mean"] == 2.0
    items = json.loads((tmp_path / "items.json").read_text())
    assert set(items["rows"]["low"]["seed0, all"]) == {"blocks7/000", "blocks7/001"}


def test_what_is_not_finite_is_stored_as_none(tmp_path, blocks):
    table = errors_table(tmp_path, blocks)
    assert table.rows[0].curves["c"]["y"] == [1.0, None]
    assert plain({"a": [math.nan, 1.0, (math.inf, "x")], "b": None}) == {
        "a": [None, 1.0, [None, "x"]],
        "b": None,
    }


def test_a_run_without_a_score_leaves_its_pair_out(tmp_path, blocks, monkeypatch):
    score = Errors.score

    def broken(self, trained, items, device):
        found = score(self, trained, items, device)
        return found | {"error": math.nan} if found["error"] > 9.1 else found

    monkeypatch.setattr(Errors, "score", broken)
    table = errors_table(tmp_path, blocks)
    assert table.complete
    assert list(table.rows[2].scores) == [(0, ALL)]
    assert table.difference(table.rows[2]).count == 1


def test_unfit_weights_do_not_take_the_other_rows_down(tmp_path, blocks):
    rows = [*ROWS, RowSpec("bad", init=weights(-1.0))]
    protocol = Protocol(Errors(), NO_GRID, reference="random")
    study = prepare(rows, protocol, ALONE, [0, 1], tmp_path, train=None, val=blocks(2))
    refused = {}
    done = run_cells(study, log=lambda text: None, refuse=refused.__setitem__)
    assert done
    assert list(refused) == ["bad"]
    assert "unfit" in str(refused["bad"])
    table = write_table(study, tmp_path, log=lambda text: None)
    assert table.complete
    assert [row.name for row in table.rows] == ["random", "low", "high"]
    again = prepare(rows, protocol, ALONE, [0, 1], tmp_path, train=None, val=blocks(2))
    with pytest.raises(UsageError, match="unfit"):
        run_cells(again, log=lambda text: None)


def test_an_unfit_reference_is_an_error(tmp_path, blocks):
    rows = [RowSpec("random", init=weights(-1.0)), *ROWS[1:]]
    protocol = Protocol(Errors(), NO_GRID, reference="random")
    study = prepare(rows, protocol, ALONE, [0], tmp_path, train=None, val=blocks(2))
    with pytest.raises(UsageError, match="unfit"):
        run_cells(study, log=lambda text: None, refuse=lambda name, error: None)


def test_a_diverged_run_keeps_its_scores_on_the_test_split(tmp_path, blocks, monkeypatch):
    run = Errors.run

    def diverged(self, init, *arguments, **options):
        result, trained = run(self, init, *arguments, **options)
        worst = {"error": 99.0, "diverged": True} if init is not None else {}
        return result | worst, trained

    monkeypatch.setattr(Errors, "run", diverged)
    table = errors_table(tmp_path, blocks, test=blocks(2, seed=7))
    assert table.split == "test"
    assert set(table.rows[1].scores.values()) == {99.0}
    assert 99.0 not in table.rows[0].scores.values()


def test_items_and_weights_decide_a_run_and_the_grid_does_not(tmp_path, blocks):
    table = errors_table(tmp_path, blocks)
    assert table.cells == (9, 9)
    assert len(list((tmp_path / "cells").glob("*.pt"))) == 9
    assert init_fingerprint(None) == "random"
    assert digest(Errors().at(1.0).to_dict()) == digest(Errors().at(2.0).to_dict())
