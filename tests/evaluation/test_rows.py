from __future__ import annotations

from pathlib import Path

import pytest
import torch

from densecl.errors import UsageError
from densecl.evaluation.rows import RANDOM_ROW, open_rows, parse_rows, parse_told
from densecl.transfer.of_images import PICTURES
from densecl.transfer.weight_file import Told


def opened(path, told=None, name="row"):
    """(rows, refused, lines) of one file."""
    lines = []
    rows, refused = open_rows(
        {name: [path]}, {name: told or Told()}, PICTURES, lines.append, show_key_map=True
    )
    return rows, refused, lines


def test_rows_are_named_by_their_file_or_by_its_folder():
    files, randoms = parse_rows(["runs/a/last.pth", "b=x.pth", "runs/pixpro.pth", "random"])
    assert files == {
        "a": [Path("runs/a/last.pth")],
        "b": [Path("x.pth")],
        "pixpro": [Path("runs/pixpro.pth")],
    }
    assert randoms == [RANDOM_ROW]


def test_several_files_of_one_name_are_its_seeds_if_the_name_is_given():
    files, _ = parse_rows(["m=s0.pth", "m=s1.pth"])
    assert files == {"m": [Path("s0.pth"), Path("s1.pth")]}
    with pytest.raises(UsageError, match="both called 'a'"):
        parse_rows(["x/a.pth", "y/a.pth"])
    with pytest.raises(UsageError, match="two rows are called 'a'"):
        parse_rows(["x/a.pth", "a=z.pth"])
    with pytest.raises(UsageError, match="two rows are called 'a'"):
        parse_rows(["x/a.pth", "a=random"])


def test_names_may_hold_dots_and_equals_signs():
    files, _ = parse_rows(["lr=0.1=x.pth"])
    assert list(files) == ["lr=0.1"]
    told = parse_told(["v1.5.branch=teacher"], ["v1.5"])
    assert told["v1.5"].branch == "teacher"


def test_what_is_told_goes_to_its_row():
    told = parse_told(
        ["a.mean=[1,2,3]", "a.channel_order=BGR", "a.backbone.depth=50", "b.branch=online"],
        ["a", "b", "c"],
    )
    assert told["a"] == Told(backbone={"depth": 50}, channel_order="BGR", mean=(1.0, 2.0, 3.0))
    assert told["b"].branch == "online"
    assert told["c"] == Told()
    with pytest.raises(UsageError, match="one of the rows a"):
        parse_told(["z.mean=[1]"], ["a"])
    with pytest.raises(UsageError, match="did you mean 'mean'"):
        parse_told(["a.meen=[1]"], ["a"])


def test_a_line_says_what_was_recognised(tmp_path, network):
    path = tmp_path / "w.pth"
    torch.save(network(0), path)
    (row,), refused, lines = opened(path)
    assert not refused
    assert lines[0].startswith("row: layout torchvision, branch unknown, ")
    count = sum(not name.endswith("num_batches_tracked") for name in network(0))
    assert f"{count} of {count} tensors" in lines[0]
    assert "channel order RGB, mean [123.675, 116.28, 103.53]" in lines[0]
    assert "ResNet-18, width 4, stem v1, norm bn" in lines[0]
    assert "    layer1.0.conv1.weight -> layer1.0.conv1.weight" in lines[1]
    assert row.files[0].key_map[0] == ("conv1.weight", "conv1.weight")


def test_the_key_map_names_the_entries_of_the_file(tmp_path, network):
    state = {f"module.encoder_q.{k}": v for k, v in network(0).items()}
    state |= {f"module.encoder_k.{k}": v for k, v in network(1).items()}
    torch.save({"state_dict": state}, tmp_path / "moco.pth")
    (row,), _, _ = opened(tmp_path / "moco.pth")
    assert ("encoder_q.layer2.0.conv1.weight", "layer2.0.conv1.weight") in row.files[0].key_map
    (told,), _, lines = opened(tmp_path / "moco.pth", Told(branch="teacher"))
    assert ("encoder_k.layer2.0.conv1.weight", "layer2.0.conv1.weight") in told.files[0].key_map
    assert "branch teacher" in lines[0]
    teacher = network(1)
    assert all(torch.equal(v, teacher[k]) for k, v in told.init(told.files[0]).items())
    assert told.fingerprint(told.files[0]) != row.fingerprint(row.files[0])
    assert row.init(row.files[0]) == tmp_path / "moco.pth"


def test_a_backbone_that_is_not_whole_is_refused_with_the_tensor(tmp_path, network):
    state = network(0)
    del state["layer3.1.bn2.bias"]
    torch.save(state, tmp_path / "hole.pth")
    rows, (refused,), lines = opened(tmp_path / "hole.pth")
    assert not rows
    assert "layer3.1.bn2.bias" in refused.reason
    assert lines[0].startswith("refused row: ")


def test_another_stem_than_told_is_refused_by_its_name(tmp_path, network):
    torch.save(network(0), tmp_path / "v1.pth")
    small = {"type": "ResNet", "depth": 18, "width": 4, "stem": "small"}
    _, (refused,), _ = opened(tmp_path / "v1.pth", Told(backbone=small))
    assert "the file has the stem v1, the backbone small" in refused.reason


def test_a_branch_that_is_not_there_is_refused(tmp_path, network):
    torch.save(network(0), tmp_path / "w.pth")
    _, (refused,), _ = opened(tmp_path / "w.pth", Told(branch="teacher"))
    assert "branch 'teacher'" in refused.reason
    assert "leave the branch out" in refused.reason


def test_caffe_weights_are_refused_until_their_network_is_named(tmp_path, network):
    torch.save(network(0), tmp_path / "resnet_caffe.pth")
    _, (refused,), _ = opened(tmp_path / "resnet_caffe.pth")
    assert "Caffe" in refused.reason
    assert "BGR" in refused.reason


def test_a_file_that_is_no_weights_is_refused(tmp_path):
    (tmp_path / "x.pth").write_text("no weights")
    _, (refused,), _ = opened(tmp_path / "x.pth")
    assert "x.pth" in refused.reason
    _, (refused,), _ = opened(tmp_path / "gone.pth")
    assert "no such file" in refused.reason


def test_an_unknown_input_is_refused_until_it_is_told(tmp_path, untold):
    (row,), _, _ = opened(untold(tmp_path / "d2.pth"))
    with pytest.raises(UsageError, match="does not say how its input is normalised"):
        PICTURES.known_for(row.files[0], row.told, None)
    told = Told(channel_order="BGR", mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0))
    known = PICTURES.known_for(row.files[0], told, None)
    assert known["channel_order"] == "BGR"
    assert known["mean"] == (1.0, 2.0, 3.0)


def test_what_is_told_must_not_contradict_the_file(tmp_path, network):
    torch.save(network(0), tmp_path / "w.pth")
    (row,), _, _ = opened(tmp_path / "w.pth")
    with pytest.raises(UsageError, match="channel_order = RGB, you say BGR"):
        PICTURES.known_for(row.files[0], Told(channel_order="BGR"), None)


def test_one_file_or_one_for_each_seed(tmp_path, network):
    torch.save(network(0), tmp_path / "w.pth")
    (row,), _, _ = opened(tmp_path / "w.pth")
    assert {seed: f.path.name for seed, f in row.by_seed((3, 4)).items()} == {
        3: "w.pth",
        4: "w.pth",
    }
    two = {"row": [tmp_path / "w.pth"] * 2}
    (row,), _ = open_rows(two, {"row": Told()}, PICTURES, lambda text: None)
    with pytest.raises(UsageError, match="2 files for 3 pretraining seeds"):
        row.by_seed((0, 1, 2))


def test_two_rows_of_the_same_weights_are_named(tmp_path, network):
    torch.save(network(0), tmp_path / "a.pth")
    torch.save({"state_dict": network(0), "epoch": 3}, tmp_path / "b.pth")
    torch.save(network(1), tmp_path / "c.pth")
    given = {name: [tmp_path / f"{name}.pth"] for name in "abc"}
    lines = []
    rows, _ = open_rows(given, dict.fromkeys("abc", Told()), PICTURES, lines.append)
    assert len(rows) == 3
    same = [line for line in lines if "the same weights as a" in line]
    assert len(same) == 1
    assert lines.index(same[0]) == 2
