from __future__ import annotations

import torch
from torch import nn

from densecl.transfer.compute import forward_flops, pretraining_flops


class OneConvolution(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(5)

    def forward(self, x):
        return self.norm(self.conv(x))


def test_a_convolution_counts_two_operations_per_multiply_add():
    assert forward_flops(OneConvolution(), (8, 10)) == 2 * 8 * 10 * 5 * 3 * 9


def test_counting_leaves_modes_and_statistics_alone():
    model = OneConvolution()
    before = model.norm.running_mean.clone()
    forward_flops(model, (8, 8))
    assert model.training
    assert model.norm.training
    assert torch.equal(model.norm.running_mean, before)


def test_pretraining_grows_with_steps_batch_and_accumulation_and_counts_the_teacher():
    backbone = {"type": "ResNet", "depth": 18, "width": 4}
    config = {
        "method": {"backbone": backbone},
        "views": {"size": 32, "num_views": 2},
        "loader": {"batch_size": 4},
        "train": {"accumulate": 1},
    }
    once = pretraining_flops(config, 1)
    from densecl.models import build_backbone

    # forward and twice that for the backward of the online branch, one forward of the teacher
    assert once == 4 * (3 + 1) * forward_flops(build_backbone(backbone), (32, 32))
    assert pretraining_flops(config, 3) == 3 * once
    config["train"]["accumulate"] = 2
    assert pretraining_flops(config, 3) == 6 * once
