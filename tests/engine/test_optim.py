from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from densecl.engine.optim import build_optimizer, parameter_groups, scaled_lr, set_lr
from densecl.engine.schema import OPTIM_COMMON, OPTIM_TYPES


def options(kind, **changes):
    fields = {**OPTIM_COMMON, **OPTIM_TYPES[kind]}
    return {**{name: field.default for name, field in fields.items()}, "type": kind, **changes}


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Linear(2, 2)).double()


@pytest.mark.parametrize(("scaling", "factor"), [("linear", 4.0), ("sqrt", 2.0), ("none", 1.0)])
def test_learning_rate_scales_with_the_batch(scaling, factor):
    assert scaled_lr(0.03, 1024, 256, scaling) == pytest.approx(0.03 * factor)


def test_unknown_scaling_is_refused():
    with pytest.raises(ValueError, match="cubic"):
        scaled_lr(0.03, 256, 256, "cubic")


def test_groups_cover_every_trainable_parameter_once():
    module = net()
    module[2].weight.requires_grad_(False)
    wide, thin = parameter_groups(module, spare_1d=True)
    assert [p.ndim for p in wide["params"]] == [4]
    assert {p.ndim for p in thin["params"]} == {1}
    assert len(thin["params"]) == 4
    (everything,) = parameter_groups(module, spare_1d=False)
    assert len(everything["params"]) == 5


def test_a_module_without_matrices_has_one_group():
    assert len(parameter_groups(nn.BatchNorm2d(3), spare_1d=True)) == 1


@pytest.mark.parametrize("kind", ["LARS", "AdamW"])
def test_1d_parameters_are_not_decayed(kind):
    module = net()
    before = copy.deepcopy(module.state_dict())
    optimizer = build_optimizer(module, options(kind, weight_decay=0.5), 0.1)
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, value in module.named_parameters():
        assert torch.equal(value, before[name]) == (value.ndim <= 1), name


def test_lars_gives_1d_parameters_the_plain_momentum_step():
    module = net()
    bias = module[0].bias
    start = bias.detach().clone()
    optimizer = build_optimizer(module, options("LARS", weight_decay=0.5, trust=1e-9), 0.1)
    total, buffer = np.zeros(4), np.zeros(4)
    for step in range(3):
        bias.grad = torch.full_like(bias, step + 1.0)
        optimizer.step()
        buffer = 0.9 * buffer + (step + 1.0)
        total -= 0.1 * buffer
    np.testing.assert_allclose((bias.detach() - start).numpy(), total, rtol=1e-12)


def test_sgd_decays_everything_like_the_literal_loop():
    module = net()
    parameters = [p.detach().numpy().copy() for p in module.parameters()]
    optimizer = build_optimizer(module, options("SGD", weight_decay=0.2), 0.1)
    buffers = [np.zeros_like(p) for p in parameters]
    random = np.random.default_rng(0)
    for _ in range(3):
        for index, live in enumerate(module.parameters()):
            gradient = random.normal(size=live.shape)
            live.grad = torch.from_numpy(gradient)
            buffers[index] = 0.9 * buffers[index] + gradient + 0.2 * parameters[index]
            parameters[index] = parameters[index] - 0.1 * buffers[index]
        optimizer.step()
    for live, expected in zip(module.parameters(), parameters, strict=True):
        np.testing.assert_allclose(live.detach().numpy(), expected, rtol=1e-12, atol=1e-14)


def test_adamw_equals_the_literal_loop():
    module = nn.Linear(3, 2, bias=False).double()
    weight = module.weight.detach().numpy().copy()
    optimizer = build_optimizer(module, options("AdamW", weight_decay=0.1, betas=[0.8, 0.9]), 0.01)
    first, second = np.zeros_like(weight), np.zeros_like(weight)
    random = np.random.default_rng(1)
    for t in range(1, 5):
        gradient = random.normal(size=weight.shape)
        module.weight.grad = torch.from_numpy(gradient)
        optimizer.step()
        weight *= 1 - 0.01 * 0.1
        first = 0.8 * first + 0.2 * gradient
        second = 0.9 * second + 0.1 * gradient**2
        weight -= 0.01 * (first / (1 - 0.8**t)) / (np.sqrt(second / (1 - 0.9**t)) + 1e-8)
    np.testing.assert_allclose(module.weight.detach().numpy(), weight, rtol=1e-10)


def test_set_lr_reaches_every_group():
    optimizer = build_optimizer(net(), options("AdamW"), 0.1)
    set_lr(optimizer, 0.007)
    assert [group["lr"] for group in optimizer.param_groups] == [0.007, 0.007]


def test_dampening_weakens_what_a_gradient_adds_to_the_momentum():
    module = net()
    optimizer = build_optimizer(module, options("SGD", momentum=0.5, dampening=0.2), 1.0)
    weight = module[2].weight
    start = weight.detach().clone()
    for _ in range(2):
        optimizer.zero_grad()
        weight.sum().backward()
        optimizer.step()
    # torch takes the first gradient whole: 1, then 0.5 * 1 + 0.8 * 1; weight decay adds 1e-4.
    torch.testing.assert_close(weight.detach(), start - 2.3, rtol=0, atol=1e-3)
