from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from densecl.errors import UsageError
from densecl.models import ResNet
from pointcl.models.teacher import Teacher, dilate

SMALL = {"type": "ResNet", "depth": 18, "width": 8}


def network(depth: int, seed: int = 0, **options) -> ResNet:
    """Random weights and random statistics, so that no norm is the identity."""
    torch.manual_seed(seed)
    found = ResNet(depth=depth, width=8, **options).double().eval()
    for module in found.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return found


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("stride", [4, 8, 16, 32])
def test_a_dilated_network_has_the_old_features_where_there_were_any(depth, stride):
    whole = network(depth)
    fine = copy.deepcopy(whole)
    dilate(fine, stride)
    image = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        before, after = whole(image).maps[32], fine(image).maps
    assert max(after) == stride == max(fine.channels)
    step = 32 // stride
    found = after[stride]
    assert found.shape[1:] == (fine.channels[stride], 64 // stride, 96 // stride)
    assert before.abs().max() > 0.1
    torch.testing.assert_close(found[:, :, ::step, ::step], before)


def faulty_dilate(net: ResNet) -> None:
    """The whole stage dilated alike, the convolution that strode too: it reads other places."""
    dilate(net, 4)
    for name, rate in (("layer2", 2), ("layer3", 4), ("layer4", 8)):
        conv = net.get_submodule(name)[0].conv1
        conv.dilation = conv.padding = (rate, rate)


def test_the_convolution_that_strode_keeps_the_dilation_before_it():
    whole = network(18)
    fine = copy.deepcopy(whole)
    faulty_dilate(fine)
    image = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        gap = (fine(image).maps[4][:, :, ::8, ::8] - whole(image).maps[32]).abs().max()
    assert gap > 1e-3


def test_a_stem_coarser_than_the_stride_is_refused():
    with pytest.raises(UsageError, match="stem has stride 4"):
        Teacher("random", SMALL, stride=2)
    assert Teacher("random", {**SMALL, "stem": "small"}, stride=2).stride == 2


def test_it_is_no_part_of_the_module_tree_but_follows_it():
    holder = nn.Module()
    holder.teacher = Teacher("random", SMALL, stride=8)
    assert list(holder.parameters()) == []
    assert list(holder.state_dict()) == ["teacher.fingerprint"]
    holder.train()
    assert not any(part.training for part in holder.teacher.network.modules())
    assert holder.double().teacher(torch.randn(1, 3, 32, 32).double()).dtype == torch.float64
    again = copy.deepcopy(holder)
    assert again.teacher.network is not holder.teacher.network


def test_nothing_that_goes_through_it_asks_for_a_gradient():
    teacher = Teacher("random", SMALL, stride=8)
    image = torch.randn(1, 3, 32, 48, requires_grad=True)
    out = teacher(image)
    assert out.shape == (1, 64, 4, 6)
    assert not out.requires_grad


def test_random_weights_are_those_of_the_seed_and_shift_no_other_draw():
    def draw(seed, ahead=0):
        torch.manual_seed(seed)
        torch.rand(ahead)
        before = torch.get_rng_state()
        teacher = Teacher("random", SMALL)
        assert torch.equal(torch.get_rng_state(), before)
        return teacher

    assert draw(1).hash == draw(1, ahead=5).hash != draw(2).hash
    assert draw(1).name == "random ResNet-18 of width 8"
    assert Teacher("random").name == "random ResNet-50"


@pytest.fixture
def checkpoint(tmp_path):
    """A published file of torchvision's names."""
    torch.manual_seed(3)
    path = tmp_path / "run" / "weights.pth"
    path.parent.mkdir()
    state = dict(ResNet(depth=18, width=8).state_dict())
    torch.save({**state, "fc.weight": torch.zeros(10, 64), "fc.bias": torch.zeros(10)}, path)
    return path


def test_a_file_is_read_and_named(checkpoint):
    teacher = Teacher(checkpoint, stride=16)
    assert teacher.name.endswith("ResNet-18 of width 8, run/weights.pth")
    assert teacher.stride == 16
    assert teacher.channels == 64
    told = teacher.describe()
    assert told["path"] == str(checkpoint)
    assert told["sha256"] == teacher.hash
    stored = torch.load(checkpoint, weights_only=True)
    for name, value in teacher.network.state_dict().items():
        assert torch.equal(value, stored[name]), name


def test_a_checkpoint_of_another_teacher_is_refused(checkpoint):
    ours, copied = Teacher(checkpoint), Teacher(checkpoint, stride=8)
    copied.load_state_dict(ours.state_dict())  # how it is read is the config's
    with torch.no_grad():
        state = torch.load(checkpoint, weights_only=True)
        state["layer4.1.conv2.weight"][0, 0, 0, 0] += 1e-6
        torch.save(state, checkpoint)
    with pytest.raises(UsageError, match="another teacher"):
        Teacher(checkpoint).load_state_dict(ours.state_dict())


def test_missing_files_and_maps_are_named_with_a_way_out(tmp_path):
    with pytest.raises(UsageError, match="no such file") as caught:
        Teacher(tmp_path / "none.pth")
    assert "densecl pretrain" in caught.value.fix
    with pytest.raises(UsageError, match=r"strides \[4, 8, 16, 32\]"):
        Teacher("random", SMALL, stride=6)
