from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch

from densecl.cli import main
from densecl.engine.config import load_config
from densecl.engine.runner import pretrain
from densecl.errors import UsageError
from densecl.models.resnet import ResNet
from densecl.transfer.of_images import finetune_spec
from densecl.transfer.protocol_file import read_protocol
from densecl.transfer.tables import transfer_tables
from densecl.weights.export import export

PROTOCOL = """
_shared = dict(type="LabelledFolder", classes=["left", "right"])
data = dict(
    train=dict(images="train/images", labels="train/labels", **_shared),
    val=dict(images="val/images", labels="val/labels", **_shared),
    test=dict(images="val/images", labels="val/labels", **_shared),
    unlabelled=dict(type="ImageFolder", root="train/images"),
)
finetune = dict(channels=8, steps=2, batch_size=4, crop=(32, 32), warmup=1)
learning_rates = (0.01, 0.05)
fractions = (0.5,)
subset_seeds = (0, 1)
seeds = (0, 1)
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Pictures whose left half is bright, their labels, a protocol, and a pretrained checkpoint."""
    root = tmp_path_factory.mktemp("world")
    noise = np.random.default_rng(0)
    label = np.zeros((32, 48), np.uint8)
    label[:, 24:] = 1
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (root / split / kind).mkdir(parents=True)
        for k in range(8):
            image = noise.integers(0, 100, (32, 48, 3), np.uint8)
            image[:, :24] += 150
            cv2.imwrite(str(root / split / "images" / f"{k}.png"), image)
            cv2.imwrite(str(root / split / "labels" / f"{k}.png"), label)
    (root / "protocol.py").write_text(PROTOCOL)
    config = load_config(
        "densecl_r18w32_1xb32-500s_streets-64px",
        {
            "data": {"_delete_": True, "type": "ImageFolder", "root": str(root / "train/images")},
            "method.backbone.width": 4,
            "method.bn_splits": 1,
            "method.queue_size": 16,
            "views.size": 32,
            "loader.num_workers": 0,
            "loader.batch_size": 4,
            "schedule.max_steps": 2,
            "schedule.warmup_steps": 0,
            "log.tensorboard": False,
        },
    )
    result = pretrain(config, work_dir=root / "run")
    return root, result.checkpoint


def test_table_has_scratch_the_controls_and_the_checkpoint_and_lists_its_subsets(world, tmp_path):
    root, checkpoint = world
    protocol = read_protocol(root / "protocol.py", data_root=root)
    rows = {"densecl": {0: checkpoint, 1: checkpoint}}
    tables = transfer_tables(protocol, rows, tmp_path, device="cpu", log=lambda text: None)
    table = tables[0.5]
    assert [row.name for row in table.rows] == [
        "scratch",
        "scratch-long",
        "random, batch norm re-estimated",
        "densecl, permuted",
        "densecl",
    ]
    assert table.complete
    assert table.split == "test"
    assert table.rows[1].steps > table.rows[0].steps == 2
    assert all(len(row.scores) == 2 for row in table.rows)
    assert table.rows[-1].feature_difference < 1e-3
    folder = tmp_path / "50pct"
    assert len(list((folder / "subsets").glob("*.txt"))) == 2
    summary = json.loads((folder / "summary.json").read_text())
    assert {"name", "miou_mean", "miou_seeds", "diff_to_scratch", "interval", "verdict"} <= set(
        summary["rows"][0]
    )


def test_the_command_prints_the_table(world, tmp_path, capsys):
    root, checkpoint = world
    arguments = ["transfer", str(root / "protocol.py"), "--data-root", str(root), "--controls"]
    arguments += ["--checkpoint", f"ours={checkpoint}", "--out", str(tmp_path), "--device", "cpu"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "| ours |" in out
    assert "| scratch |" in out
    assert "interval" in out


def test_checkpoints_with_other_backbones_do_not_share_a_table(world, tmp_path):
    root, checkpoint = world
    other = torch.load(checkpoint, weights_only=True)
    other["meta"]["mean"] = [0.0, 0.0, 0.0]
    torch.save(other, tmp_path / "other.pth")
    protocol = read_protocol(root / "protocol.py", data_root=root)
    rows = {"a": {0: checkpoint}, "b": {0: tmp_path / "other.pth"}}
    with pytest.raises(UsageError, match="'a' and 'b' differ"):
        finetune_spec(protocol, rows, 2)


def test_a_file_that_cannot_tell_its_input_is_refused_until_someone_says_it(world, tmp_path):
    protocol = read_protocol(world[0] / "protocol.py", data_root=world[0])
    bare = tmp_path / "d2.pkl"
    export(ResNet(depth=18), "detectron2", bare)
    with pytest.raises(UsageError, match="does not say how its input is normalised"):
        finetune_spec(protocol, {"bare": {0: bare}}, 2)
    said = {"mean": [1.0, 2.0, 3.0], "std": [4.0, 5.0, 6.0], "channel_order": "RGB"}
    export(bare, "safetensors", tmp_path / "said.safetensors", meta=said)
    spec = finetune_spec(protocol, {"said": {0: tmp_path / "said.safetensors"}}, 2)
    assert (spec.mean, spec.std) == ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
