from __future__ import annotations

import torch
from torch import nn

from densecl.models.frozen import frozen


def test_every_mode_is_put_back_and_no_statistics_are_touched():
    net = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5)).train()
    net[1].eval()
    before = net[0].running_mean.clone()
    with frozen(net):
        assert not net[0].training
        out = net(torch.rand(2, 3, 8, 8))
    assert not out.requires_grad
    assert (net.training, net[0].training, net[1].training) == (True, True, False)
    assert torch.equal(net[0].running_mean, before)


def test_an_overridden_train_is_not_called():
    class Stubborn(nn.Conv2d):
        def train(self, mode=True):
            raise AssertionError("train was called")

    net = Stubborn(1, 1, 1)
    with frozen(net):
        assert not net.training
    assert net.training
