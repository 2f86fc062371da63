from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from densecl.diagnostics.segmentation_metrics import iou_per_class, mean_iou
from densecl.errors import UsageError
from densecl.transfer.cells import digest, init_fingerprint
from densecl.transfer.controls import scratch
from densecl.transfer.finetuning import FinetuneResult, finetune
from densecl.transfer.images import LabelledImages
from densecl.transfer.run import run_table
from densecl.transfer.study import Protocol, RowSpec, Study
from densecl.transfer.subsets import Subset


def quick_finetune(spec, init, train, evaluation, *, seed, device):
    """Stands for a run: one number that depends on all that a real run depends on."""
    names = [train.name(i) for i in range(len(train))]
    decided = digest([spec.to_dict(), init_fingerprint(init), names, seed])
    segmentor = nn.Linear(1, 1)
    nn.init.constant_(segmentor.bias, int(decided[:4], 16))
    confusion = quick_evaluate(segmentor, spec, evaluation)
    result = FinetuneResult(
        miou=mean_iou(confusion),
        iou=[*iou_per_class(confusion).tolist(), math.nan],
        confusion=confusion.tolist(),
        curve=[(spec.steps, 1.0)],
        seconds={"train": 2.0, "evaluate": 1.0},
        feature_difference=1e-6,
    )
    return result, segmentor


def quick_evaluate(segmentor, spec, images, device="cpu"):
    """A confusion matrix that depends on the run and on the images."""
    salt = digest([segmentor.bias.item(), [images[i][0].sum().item() for i in range(len(images))]])
    return np.array([[int(salt[:4], 16), 1000], [0, 1000]])


@pytest.fixture
def setting(blocks, tiny_spec, tmp_path, monkeypatch):
    """A table of two rows, two pairs and two rates of instant runs, and how to run it."""
    monkeypatch.setattr("densecl.transfer.finetuning.finetune", quick_finetune)
    monkeypatch.setattr("densecl.transfer.finetuning.evaluate", quick_evaluate)
    monkeypatch.setattr(
        "densecl.transfer.finetuning.build_started", lambda *arguments: (nn.Linear(1, 1), 0.0)
    )
    return table_runner(blocks, tiny_spec, tmp_path)


def table_runner(blocks, spec, tmp_path):
    train, val = blocks(6, seed=1), blocks(2, seed=2)
    names = [train.name(i) for i in range(6)]
    lines: list[str] = []

    def run(**changes):
        lines.clear()
        options = {
            "rows": [
                RowSpec("scratch"),
                RowSpec("other", init=lambda seed: scratch(spec.backbone, seed + 100)),
            ],
            "protocol": Protocol(spec, (0.01, 0.1)),
            "subsets": [Subset("few", tuple(names[:2])), Subset("many", tuple(names[:4]))],
            "seeds": [0],
            "out_dir": tmp_path / "out",
            "train": train,
            "val": val,
            "log": lines.append,
        }
        return run_table(**(options | changes))

    run.lines, run.spec, run.out, run.blocks = lines, spec, tmp_path / "out", blocks
    return run


def test_real_runs_make_a_table_that_can_be_taken_up_again(blocks, tiny_spec, tmp_path):
    spec = replace(tiny_spec, steps=2, batch_size=2)
    run = table_runner(blocks, spec, tmp_path)
    torch.save(scratch(spec.backbone, 0), tmp_path / "same.pth")
    options = {
        "protocol": Protocol(spec, (0.1,)),
        "rows": [RowSpec("scratch"), RowSpec("file", init={0: tmp_path / "same.pth"})],
        "test": blocks(2, seed=3),
    }
    table = run(**options)
    assert table.complete
    assert table.split == "test"
    assert all(0 <= score <= 1 for row in table.rows for score in row.scores.values())
    assert table.rows[0].scores == table.rows[1].scores
    # the test score is that of the run itself
    pair, subset = (0, "few"), [0, 1]
    images = [LabelledImages(blocks(6, seed=1), subset), LabelledImages(blocks(2, seed=3))]
    alone, _ = finetune(replace(spec, lr=0.1), None, *images, seed=0)
    assert table.rows[0].scores[pair] == alone.miou
    again = run(**options)
    assert again.to_dict() == table.to_dict()
    forgetful = Protocol(spec, (0.1,), keep_weights=False)
    repeated = run(**options | {"protocol": forgetful, "out_dir": tmp_path / "forgetful"})
    assert [row.scores for row in repeated.rows] == [row.scores for row in table.rows]


def test_table_is_complete_and_written(setting):
    table = setting()
    assert table.complete
    assert table.cells == (8, 8)
    assert table.split == "validation"
    assert list(table.rows[1].scores) == [(0, "few"), (0, "many")]
    summary = json.loads((setting.out / "summary.json").read_text())
    assert summary == json.loads(json.dumps(table.to_dict()))
    assert (setting.out / "table.md").read_text() == table.to_markdown()
    assert "[8/8]" in setting.lines[-1]
    assert "0m00s left" in setting.lines[-1]
    assert "features loaded to within 1e-06" in setting.lines[-1]


def test_a_second_call_runs_nothing_and_says_the_same(setting, monkeypatch):
    first = setting()
    monkeypatch.setattr(Study, "run", None)
    assert setting().to_dict() == first.to_dict()
    assert setting.lines == []


def test_a_killed_table_goes_on_where_it_was(setting, monkeypatch):
    whole = setting(out_dir=setting.out / "whole")
    run, calls = Study.run, []

    def killed(self, *arguments):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(arguments)
        return run(self, *arguments)

    monkeypatch.setattr(Study, "run", killed)
    with pytest.raises(KeyboardInterrupt):
        setting()
    monkeypatch.setattr(Study, "run", run)
    resumed = setting()
    assert len(setting.lines) == 5
    for one, two in zip(whole.rows, resumed.rows, strict=True):
        assert one.scores == two.scores


def test_resume_false_repeats_everything(setting):
    setting()
    setting(resume=False)
    assert len(setting.lines) == 8


def test_time_limit_leaves_an_unfinished_table_and_an_unread_test_split(setting):
    def opened():
        raise AssertionError("the test split was opened")

    table = setting(max_hours=0.0, test=opened)
    assert not table.complete
    assert table.cells[0] == 0
    assert "0 of 8 cells" in (setting.out / "table.md").read_text()
    assert setting.lines == ["stopped at the time limit: 0 of 8 cells"]


def test_scores_are_the_test_splits_and_it_is_read_once(setting):
    opened = []

    def test_split():
        opened.append(setting.blocks(3, seed=3))
        return opened[-1]

    on_val = setting(out_dir=setting.out / "val")
    table = setting(test=test_split)
    again = setting(test=test_split)
    assert table.split == "test"
    assert table.test_reads == again.test_reads == 1
    assert opened[0].reads == 3
    assert opened[1].reads == 0
    assert [row.scores for row in again.rows] == [row.scores for row in table.rows]
    assert [row.scores for row in on_val.rows] != [row.scores for row in table.rows]
    assert [row.choice for row in on_val.rows] == [row.choice for row in table.rows]


def test_the_pass_over_the_test_split_says_how_far_it_is(setting):
    table = setting(test=setting.blocks(3, seed=3))
    runs = sum(len(row.scores) for row in table.rows)
    said = [line for line in setting.lines if line.startswith("[test ")]
    assert [line.split("]")[0] for line in said] == [
        f"[test {n}/{runs}" for n in range(1, runs + 1)
    ]
    assert "0m00s left" in said[-1]
    setting(test=setting.blocks(3, seed=3))
    assert setting.lines == [f"test split: {runs} runs scored"]  # all were known


def test_another_table_in_the_folder_is_another_read(setting):
    setting(test=setting.blocks(3, seed=3))
    table = setting(test=setting.blocks(3, seed=3), seeds=[1])
    assert table.test_reads == 2
    assert "read 2 times" in table.to_markdown()


def test_test_scores_are_those_of_the_chosen_run(setting):
    on_test = setting(test=setting.blocks(3, seed=3))
    for row in on_test.rows:
        # with the test images as validation set and the chosen rate as the whole grid
        protocol = Protocol(setting.spec, (row.choice.lr,))
        out = setting.out / f"{row.name}"
        on_val = setting(val=setting.blocks(3, seed=3), protocol=protocol, out_dir=out)
        same = next(each for each in on_val.rows if each.name == row.name)
        assert row.scores == same.scores


def test_runs_without_kept_weights_are_repeated_for_the_test_split(setting):
    kept = setting(test=setting.blocks(3, seed=3))
    weights = sorted(setting.out.glob("cells/*.pt"))
    assert len(weights) == 4  # two rows, two pairs; the rate not chosen is dropped
    protocol = Protocol(setting.spec, (0.01, 0.1), keep_weights=False)
    out = setting.out / "dropped"
    dropped = setting(test=setting.blocks(3, seed=3), protocol=protocol, out_dir=out)
    assert not list(out.glob("cells/*.pt"))
    assert [row.scores for row in kept.rows] == [row.scores for row in dropped.rows]


def test_rate_is_chosen_by_validation(setting):
    table = setting()
    for row in table.rows:
        assert row.choice.means[row.choice.lr] == max(row.choice.means.values())
        # on validation, the row's score is the mean at the chosen rate
        assert row.mean == pytest.approx(row.choice.means[row.choice.lr])


def test_first_runs_the_grid_on_one_pair_only(setting):
    protocol = Protocol(setting.spec, (0.01, 0.1), selection="first")
    table = setting(protocol=protocol)
    assert table.cells == (6, 6)
    assert len(setting.lines) == 6
    assert all(len(row.scores) == 2 for row in table.rows)


def test_zip_pairs_seeds_with_subsets(setting):
    protocol = Protocol(setting.spec, (0.1,), pairing="zip")
    table = setting(protocol=protocol, seeds=[3, 4])
    assert list(table.rows[0].scores) == [(3, "few"), (4, "many")]
    with pytest.raises(UsageError, match="1 pretraining seeds and 2"):
        setting(protocol=protocol, seeds=[3])


def test_equal_weights_share_their_runs_and_score_alike(setting):
    rows = [RowSpec("scratch"), RowSpec("a", init=None), RowSpec("b", init={0: None})]
    table = setting(rows=rows)
    assert len(setting.lines) == 4
    assert table.rows[0].scores == table.rows[1].scores == table.rows[2].scores
    assert table.difference(table.rows[1]).mean == 0


def test_steps_of_a_row_override_the_protocols(setting):
    table = setting(rows=[RowSpec("scratch"), RowSpec("scratch-long", steps=3)])
    assert [row.steps for row in table.rows] == [4, 3]
    assert table.rows[0].scores != table.rows[1].scores


def test_faulty_tables_are_refused_before_anything_runs(setting):
    with pytest.raises(UsageError, match="each name once"):
        setting(rows=[RowSpec("scratch"), RowSpec("scratch")])
    with pytest.raises(UsageError, match="no row is named 'scratch'"):
        setting(rows=[RowSpec("other")])
    with pytest.raises(UsageError, match="grid"):
        setting(protocol=Protocol(setting.spec, ()))
    with pytest.raises(UsageError, match="pair"):
        setting(seeds=[])
    with pytest.raises(UsageError, match="no weights for pretraining seed 0"):
        setting(rows=[RowSpec("scratch"), RowSpec("x", init={5: None})])
    with pytest.raises(UsageError, match="no weights at nowhere"):
        setting(rows=[RowSpec("scratch"), RowSpec("x", init="nowhere.pth")])
    with pytest.raises(UsageError, match="the first is 'unknown'"):
        setting(subsets=[Subset("few", ("unknown",))])
    with pytest.raises(UsageError, match="each pair once"):
        setting(subsets=[Subset("few", ("blocks1/000",)), Subset("few", ("blocks1/001",))])
    assert not setting.lines
