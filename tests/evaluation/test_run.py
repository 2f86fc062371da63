"""Whole evaluations with a measure of one's own, from the command line to the written files."""

from __future__ import annotations

import json
import shlex
import shutil
import sys

import numpy as np
import pytest
import torch

from densecl.cli import main
from densecl.evaluation.rows import OTHER_SEEDS, RANDOM_ROW
from densecl.transfer.initialisation import random_backbone
from densecl.transfer.run import run_cells
from densecl.transfer.tables import PlannedTable


def calls():
    return sys.modules["toy_measure"].CALLS


def record(world, out="out"):
    return json.loads((world / out / "evaluation.json").read_text())


def summary(world, folder="toy/all", out="out"):
    return json.loads((world / out / folder / "summary.json").read_text())


def test_rows_controls_record_pictures_and_report(world, evaluate):
    code, said = evaluate(f"a={world / 'one.pth'}", world / "two.pth", "random")
    assert code == 0
    found = summary(world)
    assert [row["name"] for row in found["rows"]] == [
        "random",
        "random, batch norm re-estimated",
        "a, permuted",
        RANDOM_ROW,
        "a",
        "two",
    ]
    assert found["complete"]
    assert found["split"] == "test"
    assert found["columns"][0]["key"] == "energy"
    assert "one pretraining run" in found["rows"][-1]["notes"]
    written = record(world)
    assert written["schema"] == 1
    (protocol,) = written["protocols"]
    assert protocol["hash"] == found["identity"]["hash"]
    assert protocol["tables"][0]["folder"] == "toy/all"
    assert "toy_measure:Brightness" in protocol["text"]
    assert [row["name"] for row in written["rows"]] == ["a", "two", RANDOM_ROW]
    assert written["rows"][0]["layout"] == "torchvision"
    assert written["rows"][0]["coverage"].split(" ")[0] == written["rows"][0]["coverage"].split()[2]
    assert ["conv1.weight", "conv1.weight"] in written["rows"][0]["key_map"]
    assert (world / "out/toy/all/pictures/first.png").is_file()
    assert (world / "out/report.html").is_file()
    assert "a: layout torchvision" in said
    assert "report:" in said


def test_the_recorded_commands_make_the_same_tables(world, evaluate, capsys):
    evaluate(world / "one.pth", "--controls", "permuted", "--tell", "one.branch=unknown")
    first = (world / "out/toy/all/summary.json").read_text()
    command = record(world)["protocols"][0]["tables"][0]["command"]

    words = shlex.split(command)
    assert words[:2] == ["densecl", "evaluate"]
    words[words.index("--out") + 1] = str(world / "again")
    assert main(words[1:]) == 0
    capsys.readouterr()
    again = (world / "again/toy/all/summary.json").read_text()

    def plain(text):
        value = json.loads(text)
        for row in value["rows"]:
            row["seconds"] = 0
        return {**value, "seconds": 0}

    assert plain(again) == plain(first)


def test_scores_are_those_of_the_weights(world, evaluate, network):
    evaluate(world / "one.pth", "random", "--controls")
    rows = {row["name"]: row for row in summary(world)["rows"]}
    assert rows["one"]["energy_seeds"][0] == rows["one"]["energy_seeds"][1]
    from toy_measure import Brightness

    from densecl.data.folder import ImageFolder
    from densecl.transfer.features import FrozenInput

    backbone = {"type": "ResNet", "depth": 18, "width": 4, "stem": "v1", "norm": "bn"}
    task = Brightness(FrozenInput(backbone))
    items = task.select(ImageFolder(world / "test"))

    def energy(init):
        trained = task.restore({}, init, seed=0, device="cpu")
        return task.score(trained, items, "cpu")["energy"]

    assert rows["one"]["energy_seeds"][0] == pytest.approx(energy(network(1)))
    for position, seed in enumerate((0, 1)):
        state = random_backbone(backbone, seed).state_dict()
        assert rows["random"]["energy_seeds"][position] == pytest.approx(energy(state))
        state = random_backbone(backbone, seed + OTHER_SEEDS).state_dict()
        assert rows[RANDOM_ROW]["energy_seeds"][position] == pytest.approx(energy(state))


def test_a_killed_evaluation_goes_on_and_ends_the_same(world, evaluate, monkeypatch):
    evaluate(world / "one.pth", protocols=("toy.py", "toy_scaled.py"), out="whole")
    total = len(calls())
    calls().clear()
    import toy_measure

    real = toy_measure.Brightness.run

    def killed(self, *arguments, **options):
        if len(calls()) == 5:
            raise KeyboardInterrupt
        return real(self, *arguments, **options)

    monkeypatch.setattr(toy_measure.Brightness, "run", killed)
    code, _ = evaluate(world / "one.pth", protocols=("toy.py", "toy_scaled.py"))
    assert code == 130
    assert len(calls()) == 5
    monkeypatch.setattr(toy_measure.Brightness, "run", real)
    code, said = evaluate(world / "one.pth", protocols=("toy.py", "toy_scaled.py"))
    assert code == 0
    assert len(calls()) == total
    assert "5 of 8 runs done" in said
    for name in ("toy", "toy_scaled"):
        one, two = (summary(world, f"{name}/all", out) for out in ("whole", "out"))
        for a, b in zip(one["rows"], two["rows"], strict=True):
            assert a["energy_seeds"] == b["energy_seeds"]
    code, _ = evaluate(world / "one.pth", protocols=("toy.py", "toy_scaled.py"))
    assert len(calls()) == total


def test_the_time_limit_leaves_whole_files_and_says_how_to_go_on(world, evaluate):
    code, said = evaluate(world / "one.pth", "--max-hours", "0")
    assert code == 3
    assert "the same command goes on" in said
    assert not summary(world)["complete"]
    assert summary(world)["split"] == "validation"
    assert record(world)["protocols"][0]["tables"]


def test_a_bad_row_is_listed_and_the_others_run(world, evaluate, network):
    hole = network(3)
    del hole["layer3.1.conv1.weight"]
    torch.save(hole, world / "hole.pth")
    code, said = evaluate(world / "hole.pth", world / "one.pth", "--controls")
    assert code == 1
    assert "refused hole" in said
    assert "not in the tables: refused hole" in said
    (refused,) = record(world)["refused"]
    assert refused["name"] == "hole"
    assert "layer3.1.conv1.weight" in refused["reason"]
    assert [row["name"] for row in summary(world)["rows"]] == ["random", "one"]


def test_nothing_is_written_when_every_row_is_refused(world, evaluate):
    code, said = evaluate(world / "gone.pth")
    assert code == 1
    assert "every row was refused" in said
    assert not (world / "out").exists()


def test_a_protocol_that_cannot_run_does_not_take_the_others_down(world, evaluate):
    broken = (world / "toy.py").read_text()
    (world / "no_data.py").write_text(broken.replace('root="val"', 'root="nowhere"'))
    (world / "no_module.py").write_text(broken.replace("toy_measure", "no_such_module"))
    code, said = evaluate(
        world / "one.pth", "--controls", protocols=("no_data.py", "no_module.py", "toy.py")
    )
    assert code == 1
    assert [each["name"] for each in record(world)["refused"]] == [
        "protocol no_data",
        "protocol no_module",
    ]
    assert "PYTHONPATH" in said
    assert summary(world)["complete"]


def test_a_fault_in_one_measure_costs_its_table_alone(world, evaluate, monkeypatch):
    import toy_measure

    real = toy_measure.Brightness.score

    def faulty(self, *arguments):
        if self.scale == 2.0:
            raise IndexError("a bug")
        return real(self, *arguments)

    monkeypatch.setattr(toy_measure.Brightness, "score", faulty)
    code, said = evaluate(world / "one.pth", "--controls", protocols=("toy_scaled.py", "toy.py"))
    assert code == 1
    assert "IndexError: a bug" in said
    assert summary(world)["complete"]


def test_rows_of_another_backbone_get_a_table_and_a_reference_of_their_own(
    world, evaluate, network
):
    torch.save(network(5, width=8), world / "wide.pth")
    code, _ = evaluate(world / "one.pth", world / "two.pth", world / "wide.pth", "random")
    assert code == 0
    tables = record(world)["protocols"][0]["tables"]
    assert [table["folder"] for table in tables] == ["toy/backbone1/all", "toy/backbone2/all"]
    assert "width 4" in tables[0]["title"]
    assert "width 8" in tables[1]["title"]
    one, two = (summary(world, table["folder"]) for table in tables)
    assert one["identity"]["hash"] == two["identity"]["hash"]
    names = [[row["name"] for row in each["rows"]] for each in (one, two)]
    assert names[0][-3:] == [RANDOM_ROW, "one", "two"]
    assert names[1] == ["random", "random, batch norm re-estimated", "wide, permuted", "wide"]
    reference = [each["rows"][0]["energy_seeds"] for each in (one, two)]
    assert reference[0] != reference[1]


def test_an_unknown_input_is_refused_and_told_it_runs(world, evaluate, untold):
    untold(world / "d2.pth")
    code, said = evaluate(world / "d2.pth", world / "one.pth", "--controls")
    assert code == 1
    assert "--tell NAME.channel_order" in said
    assert [row["name"] for row in summary(world)["rows"]] == ["random", "one"]
    assert [row["name"] for row in record(world)["rows"]] == ["one"]
    told = ["d2.channel_order=RGB", "d2.mean=[1,2,3]", "d2.std=[4,5,6]"]
    code, _ = evaluate(world / "d2.pth", "--controls", "--tell", *told, out="told")
    assert code == 0
    assert record(world, "told")["rows"][0]["input"]["mean"] == [1.0, 2.0, 3.0]


def test_files_of_one_name_are_pretraining_seeds(world, evaluate):
    code, _ = evaluate(f"m={world / 'one.pth'}", f"m={world / 'two.pth'}", "--controls")
    assert code == 0
    row = summary(world)["rows"][-1]
    assert len(set(row["energy_seeds"])) == 2
    assert row["notes"] == ""
    assert len(record(world)["rows"][0]["files"]) == 2


def test_a_dry_run_writes_and_runs_nothing(world, evaluate):
    code, said = evaluate(world / "one.pth", "--dry-run")
    assert code == 0
    assert "toy/all: 0 of 8 runs done" in said
    assert "8 runs left before the test splits are read" in said
    assert not (world / "out").exists()
    assert not calls()


def test_no_test_leaves_the_test_split_alone(world, evaluate, monkeypatch):

    shutil.rmtree(world / "test")
    code, said = evaluate(world / "one.pth", "--no-test", "--no-report", "--controls")
    assert code == 0
    assert summary(world)["split"] == "validation"
    assert "to read the test splits, once" in said
    assert not (world / "out/report.html").exists()


def test_overrides_reach_the_runs_that_have_the_field(world, evaluate):
    evaluate(world / "one.pth", "--controls", "--cfg-options", "task.scale=3", "seeds=[7]")
    one = summary(world)
    assert one["rows"][0]["pairs"] == [[7, "all"]]
    assert one["protocol"]["run"]["scale"] == 3
    # no protocol of the suite fine-tunes

    code, _ = evaluate(world / "one.pth", "--cfg-options", "finetune.steps=3", out="x")
    assert code == 2


def test_pictures_are_drawn_once(world, evaluate, monkeypatch):
    evaluate(world / "one.pth", "--controls")
    import toy_measure

    def never(self, *arguments):
        raise AssertionError("drawn again")

    monkeypatch.setattr(toy_measure.Brightness, "pictures", never)
    code, said = evaluate(world / "one.pth", "--controls")
    assert code == 0
    assert "no pictures" not in said
    # an unfinished table is not drawn
    code, said = evaluate(world / "one.pth", world / "two.pth", "--controls", "--max-hours", "0")
    assert code == 3
    assert "no pictures" not in said
    # another row is another picture; that it cannot be drawn costs no number
    code, said = evaluate(world / "one.pth", world / "two.pth", "--controls")
    assert code == 0
    assert "no pictures of" in said


def test_a_row_that_fails_in_its_first_run_is_left_out(world, evaluate, monkeypatch):
    from densecl.errors import UsageError

    seen = []

    def planned(self, max_hours=None, log=print, refuse=None):
        real = self.study.run

        def run(row, pair, cell):
            if row.name == "two":
                raise UsageError("features differ")
            return real(row, pair, cell)

        self.study.run = run
        seen.append(run_cells(self.study, max_hours, log, refuse))
        return self.write(log)

    monkeypatch.setattr(PlannedTable, "run", planned)
    code, _ = evaluate(world / "one.pth", world / "two.pth", "--controls")
    assert seen == [True]
    assert code == 1
    assert {"name": "two", "reason": "features differ"} in record(world)["refused"]
    assert [row["name"] for row in summary(world)["rows"]] == ["random", "one"]
    assert summary(world)["complete"]
    assert np.isfinite(summary(world)["rows"][1]["energy_mean"])
