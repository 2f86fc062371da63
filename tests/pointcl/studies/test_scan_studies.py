"""Studies of scans: what decides a cell, what is refused, and a whole one from the command."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import pytest
import torch

from densecl.errors import UsageError
from densecl.studies import run_study
from densecl.studies.clock import Clock
from densecl.studies.pretraining import with_contents
from densecl.transfer.cells import init_fingerprint
from pointcl.cli import main
from pointcl.models import build_backbone
from pointcl.studies.of_scans import SCANS, scan_names
from pointcl.transfer.cost import operations, step_cost
from pointcl.transfer.finetuning import FinetuneSpec
from pointcl.transfer.probe import FrozenSpec

PROBE_ONLY = "protocols = [dict(controls=(), **protocols[1])]"


def keys(plan):
    """Row -> key of its first seed."""
    cells = plan.pretraining["flats"].items()
    return {name: next(iter(by_seed.values())).key for (name, _), by_seed in cells}


def option(row: int, field: str, value: object) -> str:
    return f"rows[{row}]['options'] = {{**rows[{row}]['options'], {field!r}: {value!r}}}"


def changed(plan, line: str) -> set[str]:
    """Rows whose key a line of the study changes; what all rows share is named ``all``."""
    before, after = keys(plan(PROBE_ONLY)), keys(plan(PROBE_ONLY, line))
    rows = {name for name in before if before[name] != after[name]}
    return {"all"} if rows == set(before) else rows


EVERY = "for _row in rows: _row['options'] = {**_row['options'], "


@pytest.mark.parametrize(
    ("line", "rows"),
    [
        (option(0, "method.loss", "hardest"), {"PointContrast"}),
        (option(1, "method.shuffle_pairs", True), {"SLidR"}),
        (option(2, "method.teacher_backbone.depth", 34), {"SLidR, untrained teacher"}),
        (EVERY + "'voxels.size': 0.7}", {"all"}),
        (EVERY + "'voxels.features': ['intensity']}", {"all"}),
        ("budgets = (3,)", {"all"}),
        ("seeds = (1, 0)", {"all"}),
        ("_posed['length'] = 6", {"PointContrast"}),
        ("folds[0]['readings']['pictures']['length'] = 2", {"SLidR", "SLidR, untrained teacher"}),
        (option(0, "log.every", 3), set()),
        ("folds[0]['train']['first'] = 500", set()),
    ],
)
def test_what_decides_the_weights_changes_the_key_and_nothing_else_does(plan, line, rows):
    assert changed(plan, line) == rows


def test_a_teacher_counts_by_its_content_wherever_it_lies(plan, teacher, make_teacher, tmp_path):
    moved = tmp_path / "elsewhere.safetensors"
    shutil.copy(teacher, moved)
    before = keys(plan(PROBE_ONLY))
    assert keys(plan(PROBE_ONLY, file=moved)) == before
    other = keys(plan(PROBE_ONLY, file=make_teacher(1)))
    assert {name for name in before if before[name] != other[name]} == {"SLidR"}


def test_only_fields_that_name_a_file_are_replaced_by_its_content(teacher, tmp_path):
    config = {"method": {"teacher": str(teacher), "read": str(teacher)}, "data": {"root": "x"}}
    found = with_contents(config, ("method.teacher", "method.absent", "absent.teacher"))
    assert found["method"] == {"teacher": init_fingerprint(teacher), "read": str(teacher)}
    assert config["method"]["teacher"] == str(teacher)
    for value in ("random", str(tmp_path / "gone.pth"), str(tmp_path)):
        config = {"method": {"teacher": value}}
        assert with_contents(config, ("method.teacher",)) == config


def test_the_places_of_data_are_not_part_of_the_key_at_any_depth():
    section = {"type": "PosedPairs", "root": 1, "dataset": {"type": "X", "cache": 2, "length": 3}}
    kept = {"type": "PosedPairs", "dataset": {"type": "X", "length": 3}}
    assert SCANS.without_places(section) == kept


def test_pairs_of_scans_are_told_by_both_scans(plan):
    fold = plan(PROBE_ONLY).folds[0]
    names = set(scan_names(fold.dataset("pairs")))
    assert names == set(scan_names(fold.dataset("unlabelled")))
    assert len(names) == 8


def test_scans_of_files_are_told_by_their_folder_too_through_any_wrapper(tmp_path):
    class Files:
        root = tmp_path

        def __len__(self):
            return 2

        def name(self, index):
            return f"s{index}"

    class Wrapper(Files):
        root = None
        dataset = Files()

    expected = [f"{tmp_path.resolve()}/s{k}" for k in range(2)]
    assert list(scan_names(Files())) == list(scan_names(Wrapper())) == expected


BAD = [
    ("rows[0]['reads'] = 'pares'", "did you mean 'pairs'"),
    (option(1, "method.teacher", "{teacer}"), "did you mean 'teacher'"),
    ("folds[0]['readings'] = dict(train=_posed)", "readings.train"),
    ("rows[0]['name'] = 'points alone (x, y, z, intensity)'", "control row"),
    ("protocols = [dict(name='p', type='probe', resize=(2, 2))]", "resize"),
    ("protocols = [dict(name='p', type='probe', controls=('scratch-long',))]", "scratch-long"),
    ("rows[0]['options'] = {'data.length': 2}", "options sets data.length"),
]


@pytest.mark.parametrize(("line", "said"), BAD)
def test_a_wrong_study_is_refused_by_name(read, line, said):
    with pytest.raises(UsageError, match=said):
        read(line)


@pytest.mark.parametrize("file", [None, "no/such/file.pth"])
def test_a_missing_file_is_refused_before_anything_runs_unless_its_rows_are_left_out(read, file):
    with pytest.raises(
        UsageError, match=r"(?s)row 'SLidR' needs files\.teacher.*files\.teacher=FILE"
    ):
        read(file=file)
    left = read(file=file, methods=["PointContrast", "SLidR, untrained teacher"])
    assert [row.name for row in left.rows] == ["PointContrast", "SLidR, untrained teacher"]


BAD_WHEN_PLANNED = [
    (option(0, "voxels.features", ["intensity"]), "'PointContrast' and 'SLidR' differ"),
    (option(0, "voxels.size", 0.7), "'PointContrast' and 'SLidR' differ"),
    ("protocols = [dict(voxels=dict(size=0.5), **protocols[0])]", "voxels.size"),
    ("folds[0]['test'] = dict(first=0, length=2, **_rooms)", "2 test scans are also in unlabelled"),
    (
        "_pair = dict(first=300, length=2, views=2, **_rooms); folds[0]['test'] = _pair; "
        "folds[0]['readings']['pairs'] = dict(type='PosedPairs', dataset=_pair)",
        "test scans are also in unlabelled",
    ),
    ("protocols[0]['finetune'] = dict(loss='dice')", "dice"),
]


@pytest.mark.parametrize(("line", "said"), BAD_WHEN_PLANNED)
def test_what_only_configs_and_data_can_tell_is_refused_before_anything_runs(
    plan, tmp_path, line, said
):
    with pytest.raises(UsageError, match=said):
        plan(line)
    assert not (tmp_path / "out").exists()


def test_the_tables_have_the_runs_and_controls_of_scans(plan):
    made = plan()
    tables = {table.label: table for table in made.tables}
    tune, probe = tables["tune 50%"].study, tables["probe 50%"].study
    methods = ["PointContrast", "SLidR", "SLidR, untrained teacher"]
    controls = ["random, batch norm re-estimated", "PointContrast, permuted"]
    points = "points alone (x, y, z, intensity)"
    assert [r.name for r in tune.rows] == ["scratch", "scratch-long", *controls, points, *methods]
    assert [r.name for r in probe.rows] == ["random init", *controls, points, *methods]
    assert isinstance(tune.protocol.spec, FinetuneSpec)
    assert isinstance(probe.protocol.spec, FrozenSpec)
    for spec in (tune.protocol.spec, probe.protocol.spec):
        assert (spec.backbone["width"], spec.num_classes) == (4, 4)
        assert (spec.voxels["size"], spec.voxels["features"]) == ([0.6] * 3, ["ones"])
    assert (probe.protocol.spec.iterations, probe.protocol.spec.points) == (3, 50)
    notes = [row.notes for row in tune.rows[-2:]]
    assert notes[0].startswith("teacher: DenseCL ResNet-18 of width 8")
    assert notes[1] == "teacher: untrained"


def test_scratch_long_spends_what_the_first_rows_pretraining_spends(plan):
    made = plan("rows = rows[:1]", "protocols = protocols[:1]")
    (table,) = made.tables
    study, cell = table.study, made.pretraining["flats"]["PointContrast", 2][0]
    long = next(row for row in study.rows if row.name == "scratch-long")
    from densecl.engine.build import build_parts
    from pointcl.engine.domain import POINTS

    parts = build_parts(cell.config, domain=POINTS)
    batches = iter(parts.loader)
    spent = 0.0
    for _ in range(2):  # the whole pretraining, step by step
        batch = next(batches)
        spent += operations(lambda b=batch: sum(parts.model(b).losses.values()))
    spec = study.protocol.spec
    each = step_cost(spec, spec.select(study.train))
    assert long.steps == 2 + -(-spent // each)


def test_work_is_counted_in_scans_and_each_method_has_a_pace_of_its_own(plan):
    made = plan(PROBE_ONLY, "budgets = (2, 4)")
    clock = Clock([])
    first = {}
    for cell in made.cells:
        first.setdefault(cell.label.split(" | seed")[0], cell)
    short = clock.work(first["flats | pretrain | PointContrast | 2 steps"])
    long = clock.work(first["flats | pretrain | PointContrast | 4 steps"])
    assert (short, long) == (3 * 2 * 2 * 2, 3 * 4 * 2 * 2)  # steps, scans, two views
    assert clock.work(first["flats | pretrain | SLidR | 2 steps"]) == 3 * 2 * 2
    assert clock.work(first["flats | probe 50% | random init"]) == 2 + 2
    assert clock.estimate(first["flats | probe 50% | random init"]) > 0
    done = SimpleNamespace(
        cell=first["flats | pretrain | PointContrast | 2 steps"].cell,
        kind="pretrain",
        label="done",
        steps=2,
        seconds=lambda: 10.0,
    )
    clock._work["done"] = short
    from densecl.studies.cells import PretrainCell

    cell = PretrainCell(done.cell)
    clock._done[clock._pace(cell)].append((short, 10.0))
    other = first["flats | pretrain | PointContrast | 4 steps"]
    assert clock.estimate(other) == pytest.approx(20.0)
    slidr = first["flats | pretrain | SLidR | 4 steps"]
    assert clock.estimate(slidr) != pytest.approx(20.0 / 2, rel=1e-6)


def test_a_whole_study_runs_through_the_command_and_is_found_again(
    read, tmp_path, teacher, capsys, monkeypatch
):
    quick = "protocols[0]['controls'] = ('points', 'permuted')"
    read("rows = rows[:2]", "seeds = (0,)", quick, "protocols[1]['controls'] = ('batchnorm',)")
    study, out = tmp_path / "rooms.py", tmp_path / "found"
    arguments = ["study", str(study), "--out", str(out), "--device", "cpu"]
    arguments += ["--cfg-options", f"files.teacher={teacher}"]
    assert main([*arguments, "--dry-run"]) == 0
    listed = capsys.readouterr().out
    assert "flats | pretrain | SLidR | 2 steps | seed 0" in listed
    assert not out.exists()
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "**unfinished**" not in said
    assert f"SLidR: `slidr_{'unet14w8_1xb2-120s_streets-50cm'}`" in said
    assert "(teacher: DenseCL ResNet-18 of width 8" in said
    value = json.loads((out / "study.json").read_text())
    assert value["complete"] is True
    tune = value["protocols"][0]["folds"]["flats"]
    assert tune["split"] == "test"
    assert {row["name"] for row in tune["rows"]} >= {"scratch", "PointContrast, permuted", "SLidR"}
    assert all(0 <= row["miou_mean"] <= 1 for row in tune["rows"])

    def never(*_, **__):
        raise AssertionError("a finished cell was run again")

    monkeypatch.setattr("densecl.studies.pretraining.pretrain", never)
    monkeypatch.setattr("pointcl.transfer.finetuning.finetune", never)
    monkeypatch.setattr(FrozenSpec, "run", never)
    assert main(arguments) == 0
    assert json.loads((out / "study.json").read_text())["protocols"] == value["protocols"]


def test_transfer_starts_from_the_weights_that_pretraining_kept(plan, tmp_path, monkeypatch):
    lines = ("rows = rows[:1]", "seeds = (0,)", PROBE_ONLY)
    made = plan(*lines)
    cell = made.pretraining["flats"]["PointContrast", 2][0]
    assert made.tables[0].study.cell  # planned without weights
    assert cell.fingerprint() is None
    seen = []
    real = FrozenSpec.run

    def run(self, init, *rest, **options):
        seen.append(init)
        return real(self, init, *rest, **options)

    monkeypatch.setattr(FrozenSpec, "run", run)
    run_study(made.config, tmp_path / "out", log=lambda _: None, device="cpu", test=False)
    assert cell.record()["steps"] == 2
    assert not list(cell.folder.glob("*.pth"))
    kept = cell.state()
    (given,) = [init for init in seen if init is not None]
    assert all(torch.equal(given[name], value) for name, value in kept.items())
    fresh = build_backbone(cell.config["method"]["backbone"]).state_dict()
    assert set(given) == set(fresh)
    assert any(not torch.equal(given[name], fresh[name]) for name in fresh)


def test_the_command_explains_itself_and_bad_input_ends_with_a_message(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["study", "--help"])
    assert stop.value.code == 0
    assert "--max-hours" in capsys.readouterr().out
    (tmp_path / "bad.py").write_text("rows = 3\n")
    assert main(["study", str(tmp_path / "bad.py")]) == 2
    assert "rows = 3" in capsys.readouterr().err
    assert main(["study", "streets_lidr"]) == 2
    assert "did you mean 'streets_lidar'" in capsys.readouterr().err
