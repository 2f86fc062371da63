from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from densecl.transfer.controls import (
    permuted_within_layers,
    reestimated_batchnorm,
    scratch,
    scratch_long_steps,
)
from densecl.transfer.initialisation import random_backbone, starting_backbone


def test_scratch_is_what_fine_tuning_starts_from(tiny_backbone):
    state = scratch(tiny_backbone, 3)
    expected = starting_backbone(None, tiny_backbone, 3).state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in state)


def test_scratch_long_adds_the_pretraining():
    assert scratch_long_steps(100, pretraining_cost=60.0, step_cost=0.5) == 220
    assert scratch_long_steps(100, pretraining_cost=0.6, step_cost=0.5) == 102
    assert scratch_long_steps(100, pretraining_cost=0.0, step_cost=0.5) == 100
    for costs in ((1.0, 0.0), (float("nan"), 1.0), (float("inf"), 1.0)):
        with pytest.raises(ValueError, match="finite"):
            scratch_long_steps(100, *costs)


def test_reestimated_statistics_are_the_averages_over_the_batches():
    norm = nn.BatchNorm2d(2)
    norm.running_mean.fill_(9.0)
    generator = torch.Generator().manual_seed(0)
    batches = [torch.randn(4, 2, 3, 3, generator=generator) + k for k in range(5)]
    state = reestimated_batchnorm(nn.Sequential(norm), iter(batches))
    means = torch.stack([b.mean((0, 2, 3)) for b in batches]).mean(0)
    variances = torch.stack([b.var((0, 2, 3)) for b in batches]).mean(0)
    torch.testing.assert_close(state["0.running_mean"], means)
    torch.testing.assert_close(state["0.running_var"], variances)
    assert norm.running_mean[0] == 9.0
    assert norm.momentum == 0.1
    limited = reestimated_batchnorm(nn.Sequential(norm), iter(batches), limit=1)
    torch.testing.assert_close(limited["0.running_mean"], batches[0].mean((0, 2, 3)))


def test_reestimation_changes_statistics_only_and_brings_features_to_unit_scale(tiny_backbone):
    model = random_backbone(tiny_backbone, 0)
    before = copy.deepcopy(model.state_dict())
    batch = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 3 + 1
    state = reestimated_batchnorm(model, [batch])
    for name, value in before.items():
        assert torch.equal(model.state_dict()[name], value)
        if "running" not in name and "num_batches" not in name:
            assert torch.equal(state[name], value), name
    model.load_state_dict(state)
    model.eval()
    with torch.no_grad():
        first = model.bn1(model.conv1(batch))
    # unbiased against biased variance over 4096 values
    torch.testing.assert_close(first.mean((0, 2, 3)), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(first.std((0, 2, 3)), torch.ones(4), atol=1e-3, rtol=0)


def test_reestimation_needs_batches_and_batch_norm(tiny_backbone):
    with pytest.raises(ValueError, match="no batch to"):
        reestimated_batchnorm(random_backbone(tiny_backbone, 0), [])
    with pytest.raises(ValueError, match="no batch norm"):
        reestimated_batchnorm(nn.Conv2d(3, 4, 1), [torch.zeros(1, 3, 4, 4)])


def test_permutation_keeps_each_layers_values_and_moves_them(tiny_backbone):
    state = scratch(tiny_backbone, 0)
    permuted = permuted_within_layers(state, 1)
    assert permuted.keys() == state.keys()
    for name, value in state.items():
        assert permuted[name].shape == value.shape
        assert torch.equal(permuted[name].flatten().sort()[0], value.flatten().sort()[0]), name
        if value.ndim > 1:
            assert not torch.equal(permuted[name], value), name


def test_permutation_is_seeded_and_differs_between_layers():
    value = torch.arange(64.0).view(8, 8)
    state = {"a.weight": value, "b.weight": value}
    one, two = permuted_within_layers(state, 1), permuted_within_layers(state, 1)
    assert torch.equal(one["a.weight"], two["a.weight"])
    assert not torch.equal(one["a.weight"], one["b.weight"])
    assert not torch.equal(one["a.weight"], permuted_within_layers(state, 2)["a.weight"])
    backwards = permuted_within_layers(dict(reversed(state.items())), 1)
    assert torch.equal(one["b.weight"], backwards["b.weight"])


def test_vectors_of_a_norm_layer_move_together():
    channel = torch.arange(16.0)
    names = ("weight", "bias", "running_mean", "running_var")
    state = {f"bn.{name}": channel + 100 * k for k, name in enumerate(names)}
    state["bn.num_batches_tracked"] = torch.tensor(7)
    permuted = permuted_within_layers(state, 0)
    assert permuted["bn.num_batches_tracked"] == 7
    for k, name in enumerate(names):
        assert torch.equal(permuted[f"bn.{name}"], permuted["bn.weight"] + 100 * k)
    assert not torch.equal(permuted["bn.weight"], channel)


def test_controls_do_not_alias_their_input(tiny_backbone):
    model = random_backbone(tiny_backbone, 0)
    permuted = permuted_within_layers(model.state_dict(), 0)
    permuted["conv1.weight"].zero_()
    assert model.conv1.weight.abs().sum() > 0
