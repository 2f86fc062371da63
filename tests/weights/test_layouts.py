import pickle

import pytest
import torch

from densecl.errors import UsageError
from densecl.weights import load_backbone
from densecl.weights.load import read_backbone

BRANCHED = {
    "MoCo v2": "MoCo v2",
    "DenseCL training": "DenseCL training",
    "PixPro": "PixPro",
    "densecl pretrain": "densecl",
}
SINGLE = {
    "torchvision": "torchvision",
    "DenseCL published": "torchvision",
    "mmseg": "mmseg or mmpretrain",
    "detectron2": "detectron2",
}


def write(path, content):
    if "__author__" in content:
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path)
    return path


@pytest.mark.parametrize(("layout", "name"), {**BRANCHED, **SINGLE}.items())
def test_each_layout_is_recognised_and_its_online_branch_taken(
    tmp_path, make_net, make_published, layout, name
):
    online, teacher = make_net(seed=1), make_net(seed=2)
    path = write(tmp_path / "w.pth", make_published(layout, online, teacher))
    state = read_backbone(path)
    assert (state.layout, state.branch) == (name, "online")
    loaded = load_backbone(path)
    assert not loaded.training
    x = torch.randn(2, 3, 64, 64)
    for stride, features in online(x).maps.items():
        assert torch.equal(loaded(x).maps[stride], features)


@pytest.mark.parametrize("layout", BRANCHED)
def test_the_teacher_is_taken_when_asked_for(tmp_path, make_net, make_published, layout):
    online, teacher = make_net(seed=1), make_net(seed=2)
    path = write(tmp_path / "w.pth", make_published(layout, online, teacher))
    x = torch.randn(1, 3, 64, 64)
    loaded = load_backbone(path, branch="teacher")
    assert torch.equal(loaded(x).last(), teacher(x).last())
    assert not torch.equal(loaded(x).last(), online(x).last())


@pytest.mark.parametrize("layout", [*BRANCHED, *SINGLE])
def test_a_branch_that_is_not_there_is_named(tmp_path, make_net, make_published, layout):
    path = write(tmp_path / "w.pth", make_published(layout, make_net(), make_net()))
    with pytest.raises(UsageError, match="student") as error:
        load_backbone(path, branch="student")
    assert "online" in str(error.value)


def test_a_layout_without_its_teacher_says_so(tmp_path, make_net, make_published):
    content = make_published("MoCo v2", make_net(), make_net())
    state = content["state_dict"]
    content["state_dict"] = {k: v for k, v in state.items() if "encoder_k" not in k}
    path = write(tmp_path / "w.pth", content)
    with pytest.raises(UsageError, match="branch 'teacher'"):
        load_backbone(path, branch="teacher")
    load_backbone(path)


@pytest.mark.parametrize("layout", [*BRANCHED, *SINGLE])
def test_a_missing_stage_is_named(tmp_path, make_net, make_published, layout):
    content = make_published(layout, make_net(), make_net())
    for key in ("state_dict", "model", "method"):
        if key in content:
            state = content[key]
            break
    else:
        state = content
    for name in [n for n in state if "layer3" in n or "res4" in n]:
        del state[name]
    with pytest.raises(UsageError, match="layer3"):
        load_backbone(write(tmp_path / "w.pth", content))


def test_an_unknown_layout_shows_its_keys(tmp_path):
    with pytest.raises(UsageError, match=r"blocks\.0\.attn"):
        read_backbone(write(tmp_path / "w.pth", {"blocks.0.attn": torch.ones(1)}))
    with pytest.raises(UsageError, match="epoch"):
        read_backbone(write(tmp_path / "w.pth", {"epoch": 1}))


def test_normalisation_constants_come_along(tmp_path, make_net, make_published):
    net = make_net()
    ours = load_backbone(write(tmp_path / "a.pth", make_published("densecl pretrain", net, net)))
    assert (ours.channel_order, ours.mean, ours.std) == ("BGR", (1, 2, 3), (4, 5, 6))
    assert ours.meta["method"] == "DenseCL"
    foreign = load_backbone(write(tmp_path / "b.pth", make_published("MoCo v2", net, net)))
    assert foreign.channel_order == "RGB"
    assert foreign.mean == (123.675, 116.28, 103.53)
    unknown = load_backbone(write(tmp_path / "c.pkl", make_published("detectron2", net, net)))
    assert (unknown.channel_order, unknown.mean, unknown.std) == (None, None, None)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"schema": "densecl/9"}, "densecl/9"),
        ({"kind": "study"}, "study"),
        ({"method": None}, "'method'"),
        ({"meta": {}}, "backbone_prefix"),
    ],
)
def test_checkpoints_of_ours_that_do_not_fit_the_schema_are_refused(
    tmp_path, make_net, make_published, change, word
):
    content = {**make_published("densecl pretrain", make_net(), make_net()), **change}
    with pytest.raises(UsageError, match=word):
        load_backbone(write(tmp_path / "w.pth", content))


def test_a_prefix_that_names_nothing_is_refused(tmp_path, make_net, make_published):
    content = make_published("densecl pretrain", make_net(), make_net())
    content["meta"]["backbone_prefix"] = "encoder."
    with pytest.raises(UsageError, match=r"encoder\."):
        load_backbone(write(tmp_path / "w.pth", content))
