import copy
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from densecl.errors import UsageError
from densecl.models.normalisation import (
    SplitBatchNorm1d,
    SplitBatchNorm2d,
    convert_split_batchnorm,
    permuted,
    step_permutation,
)


def images(batch, channels=5, size=3, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(batch, channels, size, size, dtype=torch.float64, generator=draw) * 3 + 1


def seasoned(layer, seed=1):
    """The layer with weights and statistics that are not the initial ones."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
            if tensor is not None:
                tensor.copy_(torch.rand(tensor.shape, generator=draw) + 0.5)
    return layer.double()


@pytest.mark.parametrize("batch", [8, 12, 10, 15])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_each_split_is_its_own_batch_norm_forward_and_backward(batch, memory):
    splits = 4
    split = seasoned(SplitBatchNorm2d(5, splits))
    plain = seasoned(nn.BatchNorm2d(5))
    x = images(batch).to(memory_format=memory).requires_grad_()
    twin = images(batch).requires_grad_()
    upstream = images(batch, seed=7)

    got = split(x)
    got.backward(upstream)
    means, variances = [], []
    expected = torch.empty_like(twin)
    weight_grad, bias_grad = torch.zeros(5).double(), torch.zeros(5).double()
    for i in range(splits):
        layer = copy.deepcopy(plain)
        out = layer(twin[i::splits])
        expected[i::splits] = out.detach()
        out.backward(upstream[i::splits])
        weight_grad += layer.weight.grad
        bias_grad += layer.bias.grad
        means.append(layer.running_mean)
        variances.append(layer.running_var)

    assert torch.allclose(got, expected, atol=1e-12)
    assert torch.allclose(x.grad, twin.grad, atol=1e-12)
    assert torch.allclose(split.weight.grad, weight_grad, atol=1e-11)
    assert torch.allclose(split.bias.grad, bias_grad, atol=1e-11)
    assert torch.allclose(split.running_mean, torch.stack(means).mean(0), atol=1e-12)
    assert torch.allclose(split.running_var, torch.stack(variances).mean(0), atol=1e-12)
    assert int(split.num_batches_tracked) == 1


@pytest.mark.parametrize("options", [{}, {"affine": False}, {"momentum": None}])
@pytest.mark.parametrize("batch", [8, 9])
def test_equal_splits_give_what_plain_batch_norm_gives_for_one(options, batch):
    row = torch.randn(2, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    # Interleaved so that every split holds both rows, the larger splits in the same shares.
    x = row.repeat_interleave(4, 0) if batch == 8 else row[:1].repeat(9, 1)
    split = SplitBatchNorm1d(6, 4, **options).double()
    plain = nn.BatchNorm1d(6, **options).double()
    for _ in range(3):
        got, expected = split(x), plain(x)
        assert torch.allclose(got, expected, atol=1e-9)
        assert torch.allclose(split.running_mean, plain.running_mean, atol=1e-12)


def test_without_running_statistics_evaluation_uses_the_batch_too():
    split = SplitBatchNorm2d(5, 2, track_running_stats=False).double()
    x = images(8)
    assert torch.equal(split.eval()(x), split.train()(x))


def test_evaluation_equals_plain_batch_norm_with_the_same_weights():
    split, plain = seasoned(SplitBatchNorm2d(5, 4)), nn.BatchNorm2d(5).double()
    plain.load_state_dict(split.state_dict())
    x = images(3)
    assert torch.equal(split.eval()(x), plain.eval()(x))
    before = split.running_mean.clone()
    split(x)
    assert torch.equal(split.running_mean, before)


def test_one_split_is_plain_batch_norm():
    split, plain = seasoned(SplitBatchNorm2d(5, 1)), seasoned(nn.BatchNorm2d(5))
    x = images(6)
    assert torch.equal(split(x), plain(x))
    assert torch.equal(split.running_var, plain.running_var)


def test_a_row_does_not_see_the_other_splits():
    x = images(8)
    other = x.clone()
    other[1::4] = 99.0 * images(2, seed=3)
    a, b = (SplitBatchNorm2d(5, 4).double()(v) for v in (x, other))
    for i in (0, 2, 3):
        assert torch.equal(a[i::4], b[i::4])
    assert not torch.allclose(a[1::4], b[1::4])


@pytest.mark.parametrize("batch", [6, 7])
def test_gradcheck(batch):
    layer = SplitBatchNorm2d(2, 3, track_running_stats=False).double()
    x = images(batch, 2, 2).requires_grad_()
    assert torch.autograd.gradcheck(layer, x)


@pytest.mark.parametrize(
    ("layer", "x"),
    [
        (SplitBatchNorm1d(4, 8), torch.zeros(12, 4)),
        (SplitBatchNorm2d(4, 8), torch.zeros(7, 4, 3, 3)),
        (SplitBatchNorm2d(4, 8), torch.zeros(0, 4, 3, 3)),
    ],
)
def test_sub_batches_too_small_for_statistics_are_refused(layer, x):
    with pytest.raises(UsageError, match="fewer splits"):
        layer(x)
    assert layer.eval()(x).shape == x.shape


def test_no_split_is_refused():
    with pytest.raises(ValueError, match="num_splits"):
        SplitBatchNorm2d(4, 0)


def test_conversion_shares_every_tensor_and_keeps_names():
    net = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Sequential(nn.BatchNorm2d(4, eps=0.1)), nn.ReLU()
    ).eval()
    before = dict(net.state_dict(keep_vars=True))
    converted = convert_split_batchnorm(net, 2)
    assert converted is net
    assert isinstance(net[1], SplitBatchNorm2d)
    assert isinstance(net[2][0], SplitBatchNorm2d)
    assert net[2][0].eps == 0.1
    assert not net[1].training
    after = net.state_dict(keep_vars=True)
    assert list(after) == list(before)
    assert all(after[name] is before[name] for name in before)
    assert isinstance(convert_split_batchnorm(nn.BatchNorm1d(3), 2), SplitBatchNorm1d)


def test_other_norms_are_left_alone():
    net = nn.Sequential(nn.GroupNorm(1, 4), nn.BatchNorm3d(4), nn.SyncBatchNorm(4))
    kinds = [type(m) for m in net]
    assert [type(m) for m in convert_split_batchnorm(net, 2)] == kinds


@dataclass
class Pair:
    maps: dict
    token: torch.Tensor | None = None


@pytest.mark.parametrize("generator", [False, True, None])
def test_rows_come_back_in_order_whatever_the_forward_returns(generator):
    x = images(9)
    order = step_permutation(9, 0, 3)
    if generator is not False:
        order = None if generator is None else torch.Generator().manual_seed(4)

    def forward(v):
        return Pair({4: v * 2, 8: [v[:, 0], (v.mean((1, 2, 3)),)]})

    got, expected = permuted(forward, x, order), forward(x)
    assert torch.equal(got.maps[4], expected.maps[4])
    assert torch.equal(got.maps[8][0], expected.maps[8][0])
    assert torch.allclose(got.maps[8][1][0], expected.maps[8][1][0])
    assert got.token is None


def test_permuting_changes_which_rows_share_statistics():
    x, norm = images(8), SplitBatchNorm2d(5, 4).double()
    plain = norm(x)
    order = torch.tensor([0, 2, 1, 3, 4, 5, 6, 7])
    got = permuted(norm, x, order)
    # Rows 1 and 2 changed places, so the splits {1, 5} and {2, 6} became {2, 5} and {1, 6}.
    assert torch.allclose(got[[0, 4, 3, 7]], plain[[0, 4, 3, 7]])
    for i in (1, 2, 5, 6):
        assert not torch.allclose(got[i], plain[i])
    expected = nn.BatchNorm2d(5).double()(x[[2, 5]])
    assert torch.allclose(got[[2, 5]], expected)


def test_gradient_flows_back_through_the_permutation():
    x = images(6).requires_grad_()
    weight = torch.arange(6.0).double()[:, None, None, None]
    (permuted(lambda v: v * 3, x, step_permutation(6, 1, 1)) * weight).sum().backward()
    assert torch.equal(x.grad, (3 * weight).expand_as(x))


def test_the_permutation_of_a_step_is_a_function_of_seed_and_step():
    assert torch.equal(step_permutation(50, 1, 7), step_permutation(50, 1, 7))
    assert not torch.equal(step_permutation(50, 1, 7), step_permutation(50, 1, 8))
    assert not torch.equal(step_permutation(50, 1, 7), step_permutation(50, 2, 7))
    assert step_permutation(50, 1, 7).sort().values.tolist() == list(range(50))


def test_a_generator_state_restores_the_next_permutation():
    draw = torch.Generator().manual_seed(5)
    state = draw.get_state()
    seen = []

    def forward(v):
        seen.append(v[:, 0, 0, 0].clone())
        return v

    permuted(forward, images(9), draw)
    draw.set_state(state)
    permuted(forward, images(9), draw)
    assert torch.equal(*seen)


def test_a_permutation_of_another_length_is_refused():
    with pytest.raises(ValueError, match="permutation"):
        permuted(lambda v: v, images(4), torch.arange(3))
