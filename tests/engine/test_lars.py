from __future__ import annotations

import numpy as np
import pytest
import torch

from densecl.engine.lars import LARS


def literal_lars(weight, gradients, *, lr, momentum, decay, trust, eps, adapt):
    """The algorithm box in float64 numpy, one step per gradient."""
    weight, buffer = weight.astype(np.float64), np.zeros_like(weight, dtype=np.float64)
    for gradient in gradients:
        direction = gradient.astype(np.float64) + decay * weight
        ratio = 1.0
        weight_norm = np.sqrt((weight**2).sum())
        norm = np.sqrt((direction**2).sum())
        if adapt and weight_norm > 0 and norm > 0:
            ratio = trust * weight_norm / (norm + eps)
        buffer = momentum * buffer + ratio * direction
        weight = weight - lr * buffer
    return weight


def run(weight, gradients, **options):
    parameter = torch.nn.Parameter(torch.from_numpy(weight.copy()))
    adapt = options.pop("adapt")
    decay = options.pop("decay")
    group = {"params": [parameter], "adapt": adapt}
    optimizer = LARS([group], options.pop("lr"), weight_decay=decay, **options)
    for gradient in gradients:
        parameter.grad = torch.from_numpy(gradient.copy())
        optimizer.step()
    return parameter.detach().numpy()


@pytest.mark.parametrize("adapt", [True, False])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_five_steps_equal_the_literal_loop(adapt, decay):
    random = np.random.default_rng(3)
    weight = random.normal(size=(4, 3))
    gradients = [random.normal(size=(4, 3)) for _ in range(5)]
    options = {"lr": 0.7, "momentum": 0.9, "decay": decay, "trust": 0.02, "eps": 1e-3}
    expected = literal_lars(weight, gradients, adapt=adapt, **options)
    # Same float64 operations in another order.
    np.testing.assert_allclose(
        run(weight, gradients, adapt=adapt, **options), expected, rtol=1e-12, atol=1e-12
    )


def test_zero_weights_move_as_in_plain_sgd():
    weight, gradient = np.zeros((2, 2)), np.ones((2, 2))
    moved = run(
        weight, [gradient], lr=0.5, momentum=0.0, decay=0.0, trust=1e-3, eps=0.0, adapt=True
    )
    np.testing.assert_array_equal(moved, -0.5 * gradient)


def test_zero_gradient_without_decay_moves_nothing():
    weight = np.ones((2, 2))
    moved = run(
        weight, [weight * 0], lr=0.5, momentum=0.9, decay=0.0, trust=1e-3, eps=0.0, adapt=True
    )
    np.testing.assert_array_equal(moved, weight)


def test_step_length_depends_on_the_weights_not_on_the_gradients_scale():
    weight, gradient = np.full((3, 3), 2.0), np.random.default_rng(0).normal(size=(3, 3))
    options = {"lr": 1.0, "momentum": 0.0, "decay": 0.0, "trust": 0.1, "eps": 0.0, "adapt": True}
    small, large = run(weight, [gradient], **options), run(weight, [gradient * 1000], **options)
    np.testing.assert_allclose(small, large, rtol=1e-12)
    assert np.linalg.norm(small - weight) == pytest.approx(0.1 * np.linalg.norm(weight))


def test_a_parameter_without_gradient_is_left_alone():
    parameter = torch.nn.Parameter(torch.ones(2, 2))
    LARS([parameter], 0.1, weight_decay=1.0).step()
    assert torch.equal(parameter, torch.ones(2, 2))
