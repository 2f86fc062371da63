"""Whole tables on scans, from a checkpoint of ``pointcl pretrain`` to the written files."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import pytest
import torch

from densecl.engine.config import list_configs, load_config
from densecl.engine.runner import pretrain
from densecl.errors import UsageError
from densecl.transfer.controls import permuted_within_layers
from densecl.transfer.protocol_file import check_protocol, read_protocol
from densecl.transfer.tables import transfer_tables
from pointcl.cli import main
from pointcl.engine.domain import POINTS
from pointcl.transfer.of_scans import SCANS
from pointcl.weights import load_backbone

BACKBONE = {"type": "MinkUNet", "depth": 14, "width": 4, "in_channels": 1}
PROTOCOL = {
    "data": {
        "train": {"type": "Layers", "length": 4, "seed": 1},
        "val": {"type": "Layers", "length": 2, "seed": 2},
        "test": {"type": "Layers", "length": 2, "seed": 3},
        "unlabelled": {"type": "Layers", "length": 2, "seed": 4, "labelled": False},
    },
    "finetune": {"steps": 2, "batch_size": 2, "warmup": 1},
    "learning_rates": [0.003, 0.01],
    "fractions": [0.5],
    "subset_seeds": [0, 1],
    "seeds": [0, 1],
}


def quiet(text):
    pass


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Two steps of PointContrast."""
    config = load_config(
        {
            "method": {"type": "PointContrast", "backbone": BACKBONE, "dim": 8},
            "views": {"recipe": {"base": "pointcontrast", "axis": "z"}},
            "voxels": {"size": 0.5, "max_voxels": 200},
            "data": {"type": "Layers", "length": 4, "labelled": False},
            "loader": {"batch_size": 2, "num_workers": 0},
            "optim": {"type": "SGD", "lr": 0.1, "scaling": "none"},
            "schedule": {"max_steps": 2, "warmup_steps": 0},
            "train": {"device": "cpu"},
            "log": {"tensorboard": False},
        },
        domain=POINTS,
    )
    return pretrain(config, work_dir=tmp_path_factory.mktemp("run"), domain=POINTS).checkpoint


def protocol(**changes):
    return check_protocol("toy", {**PROTOCOL, **changes}, kind=SCANS)


def rows_of(checkpoint):
    return {"pc": {0: checkpoint, 1: checkpoint}}


def test_a_table_has_scratch_the_controls_and_the_checkpoint_and_is_taken_up_again(
    checkpoint, tmp_path, monkeypatch
):
    from pointcl.transfer import finetuning

    real, calls = finetuning.finetune, []

    def counted(*arguments, **options):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(finetuning, "finetune", counted)
    arguments = protocol(), rows_of(checkpoint), tmp_path
    options = {"kind": SCANS, "device": "cpu", "log": quiet}
    with pytest.raises(KeyboardInterrupt):
        transfer_tables(*arguments, **options)
    table = transfer_tables(*arguments, **options)[0.5]
    assert [row.name for row in table.rows] == [
        "scratch",
        "scratch-long",
        "random, batch norm re-estimated",
        "pc, permuted",
        "points alone (x, y, z, intensity)",
        "pc",
    ]
    assert table.complete
    assert table.split == "test"
    assert table.test_reads == 1
    assert table.rows[1].steps > table.rows[0].steps == 2
    assert all(len(row.scores) == 2 for row in table.rows)
    assert table.rows[4].trained[0].backbone["type"] == "Pointwise"
    assert table.rows[4].trained[0].voxels["features"] == ["xyz", "intensity"]
    # the grid at the first pair, the chosen rate at the second: three runs a row, none twice
    assert len(calls) == 3 * 6 + 1
    transfer_tables(*arguments, **options)
    assert len(calls) == 3 * 6 + 1
    folder = tmp_path / "50pct"
    assert len(list((folder / "subsets").glob("*.txt"))) == 2
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["protocol"]["finetune"]["voxels"]["size"] == [0.5] * 3
    scans = json.loads((folder / "items.json").read_text())
    assert scans["split"] == "test"
    pair = scans["rows"]["pc"]["seed0, 50%-seed0"]
    assert list(pair) == ["3/000", "3/001"]
    assert 0 <= pair["3/000"]["miou"] <= 1
    picture = cv2.imread(str(folder / "predictions.png"))
    assert picture.shape[0] > 800


def test_a_probe_has_no_steps_and_a_grid_of_decays(checkpoint, tmp_path):
    settings = {"finetune": {}, "probe": {"points": 60, "iterations": 5}, "decays": [1e-4, 1e-2]}
    shared = protocol(**settings, blocks="sequence")
    table = transfer_tables(
        shared, rows_of(checkpoint), tmp_path, kind=SCANS, device="cpu", log=quiet
    )[0.5]
    names = [row.name for row in table.rows]
    assert names[0] == table.reference == "random"
    assert "scratch-long" not in names
    assert table.rate == "decay"
    assert table.complete
    assert "Weight decay: grid 0.0001, 0.01" in table.to_markdown()
    # whole drives of two scans
    for path in (tmp_path / "50pct/subsets").glob("*.txt"):
        first, second = path.read_text().split()
        assert int(first[-3:]) // 2 == int(second[-3:]) // 2
    assert (tmp_path / "50pct/predictions.png").is_file()


def test_the_command_prints_the_table(checkpoint, tmp_path, capsys):
    lines = [f"{name} = {value!r}" for name, value in PROTOCOL.items()]
    (tmp_path / "toy.py").write_text("\n".join(lines))
    arguments = ["transfer", str(tmp_path / "toy.py"), "--controls", "points", "--no-test"]
    arguments += ["--checkpoint", f"ours={checkpoint}", "--out", str(tmp_path), "--device", "cpu"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "| ours |" in out
    assert "points alone" in out
    assert "interval" in out


def test_without_a_checkpoint_the_command_says_what_to_type(capsys):
    assert main(["transfer", "streets_lidar-5pct"]) == 2
    assert "pointcl transfer --checkpoint" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("stated", "named"),
    [
        ({"size": 0.2}, "voxels.size"),
        ({"kind": "cylindrical"}, "voxels.kind"),
        ({"features": ["ones", "ones"]}, "voxels.features"),
    ],
)
def test_voxels_that_contradict_the_checkpoint_are_refused_by_name(checkpoint, stated, named):
    with pytest.raises(UsageError, match=named) as error:
        SCANS.task(protocol(voxels=stated), rows_of(checkpoint), 4, "cpu")
    assert "from checkpoint" in str(error.value)


def test_a_run_on_other_voxels_refuses_the_file_itself(checkpoint):
    task = SCANS.task(protocol(), rows_of(checkpoint), 4, "cpu")
    coarser = replace(task, voxels={**task.voxels, "size": [1.0] * 3})
    data = task.select(protocol().dataset("train"))
    with pytest.raises(UsageError, match=r"voxels.size = \[0.5, 0.5, 0.5\]"):
        coarser.run(checkpoint, data, data, seed=0, device="cpu")


def changed(checkpoint, path, change):
    data = torch.load(checkpoint, weights_only=True)
    change(data["meta"])
    torch.save(data, path)
    return path


def test_a_file_that_does_not_know_its_voxels_needs_them_stated(checkpoint, tmp_path):
    bare = changed(checkpoint, tmp_path / "bare.pth", lambda meta: meta.pop("voxels"))
    with pytest.raises(UsageError, match="does not say how its voxels were made"):
        SCANS.task(protocol(), {"bare": {0: bare}}, 4, "cpu")
    task = SCANS.task(protocol(voxels={"size": 0.5}), {"bare": {0: bare}}, 4, "cpu")
    assert task == SCANS.task(protocol(), rows_of(checkpoint), 4, "cpu")
    wrong = protocol(voxels={"size": 0.5, "features": ["xyz"]})
    with pytest.raises(UsageError, match="takes 1 numbers a voxel"):
        SCANS.task(wrong, {"bare": {0: bare}}, 4, "cpu")


def test_checkpoints_of_other_voxels_do_not_share_a_table(checkpoint, tmp_path):
    def coarser(meta):
        meta["voxels"]["size"] = [1.0, 1.0, 1.0]

    other = changed(checkpoint, tmp_path / "other.pth", coarser)
    rows = {**rows_of(checkpoint), "b": {0: other}}
    with pytest.raises(UsageError, match=r"'pc' and 'b' differ: voxels.size") as error:
        SCANS.task(protocol(), rows, 4, "cpu")
    assert "two tables" in str(error.value)


def test_weights_of_another_backbone_are_refused(checkpoint):
    state = load_backbone(checkpoint).state_dict()
    task = SCANS.task(protocol(), rows_of(checkpoint), 4, "cpu")
    wider = replace(task, backbone={**task.backbone, "width": 8})
    data = wider.select(protocol().dataset("train"))
    with pytest.raises(UsageError, match="do not fit the backbone config"):
        wider.run(state, data, data, seed=0, device="cpu")


def test_permuted_weights_keep_each_tensor_s_numbers(checkpoint):
    state = load_backbone(checkpoint).state_dict()
    mixed = permuted_within_layers(state, 0)
    kernel = "block1.0.conv1.kernel"
    assert not torch.equal(state[kernel], mixed[kernel])
    assert torch.equal(state[kernel].flatten().sort()[0], mixed[kernel].flatten().sort()[0])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"finetune": {"stepz": 3}}, "finetune.stepz(?s:.*)'steps'"),
        ({"finetune": {"lr": 3}}, "finetune.lr"),
        ({"probe": {"decay": 3}, "finetune": {}}, "probe.decay"),
        ({"probe": {}}, "finetune and probe"),
        ({"voxels": {"sise": 1}}, "voxels.sise(?s:.*)'size'"),
        ({"voxels": "mine"}, "from checkpoint"),
        ({"data": {"train": {"type": "Layres"}, "val": {"type": "Layers"}}}, "Layers"),
        ({"data": {"train": {"type": "Layers", "lenght": 3}, "val": {}}}, "length"),
    ],
)
def test_a_wrong_field_is_refused_with_its_name(change, named):
    with pytest.raises(UsageError, match=named):
        protocol(**change)


def test_paths_start_at_the_data_root_also_those_of_an_inner_data_set(tmp_path):
    (tmp_path / "train.txt").write_text("a\n")
    inner = {"type": "SemanticKITTI", "root": "kitti", "split": "val"}
    outer = {"type": "ScanSubset", "dataset": inner, "names": "train.txt"}
    found = SCANS.resolve(outer, tmp_path, "data.train")
    assert found["names"] == str(tmp_path / "train.txt")
    assert found["dataset"]["root"] == str(tmp_path / "kitti")
    assert found["dataset"]["split"] == "val"


SHIPPED = [
    "drive_by_time",
    "nuscenes-1pct",
    "nuscenes_probe",
    "s3dis_area5-10pct",
    "semantic_kitti-1pct",
    "streets_lidar-5pct",
]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_protocols_are_valid(name, checkpoint):
    shipped = read_protocol(name, kind=SCANS)
    assert {"train", "val", "unlabelled"} <= set(shipped.data)
    SCANS.task(shipped, rows_of(checkpoint), 11, "cpu")
    assert name in list_configs(POINTS)
