import numpy as np
import pytest
import torch

from densecl.diagnostics.ridge import fit_ridge


@pytest.fixture
def random():
    return np.random.default_rng(5)


@pytest.mark.parametrize("decay", [1e-6, 0.1, 30.0])
def test_the_primal_normal_equations_are_solved(random, decay):
    x, y = random.normal(3, 2, (50, 7)), random.normal(-1, 1, (50, 4))
    extended = np.hstack([x, np.ones((50, 1))])
    penalty = 50 * decay * np.diag([1.0] * 7 + [0.0])
    primal = np.linalg.solve(extended.T @ extended + penalty, extended.T @ y)
    weight, bias = fit_ridge(torch.from_numpy(x), torch.from_numpy(y), decay)
    assert weight.dtype == bias.dtype == torch.float64
    np.testing.assert_allclose(weight.numpy(), primal[:7].T, atol=1e-9)
    np.testing.assert_allclose(bias.numpy(), primal[7], atol=1e-9)


def test_nothing_close_by_is_a_better_minimum(random):
    x, y = random.normal(1, 2, (30, 4)), np.eye(3)[random.integers(0, 3, 30)]

    def objective(weight, bias):
        return ((x @ weight.T + bias - y) ** 2).sum() / 30 + 0.2 * (weight**2).sum()

    weight, bias = (p.numpy() for p in fit_ridge(torch.from_numpy(x), torch.from_numpy(y), 0.2))
    least = objective(weight, bias)
    for _ in range(50):
        step, shift = random.normal(0, 0.01, weight.shape), random.normal(0, 0.01, bias.shape)
        assert objective(weight + step, bias + shift) > least


def test_single_precision_and_whole_numbers_are_solved_in_double(random):
    x = torch.from_numpy(random.normal(size=(40, 3))).float()
    y = torch.from_numpy(random.integers(0, 2, (40, 2)))
    for ours, exact in zip(
        fit_ridge(x, y, 1e-3), fit_ridge(x.double(), y.double(), 1e-3), strict=True
    ):
        assert torch.equal(ours, exact)


def test_channels_that_say_nothing_get_no_weight_and_twins_share(random):
    x = torch.from_numpy(random.normal(size=(40, 3)))
    y = torch.from_numpy(random.normal(size=(40, 2)))
    weight, _ = fit_ridge(torch.cat([x, torch.zeros(40, 2), x[:, :1]], 1), y, 1e-3)
    assert weight[:, 3:5].abs().max() == 0
    torch.testing.assert_close(weight[:, 0], weight[:, 5])
