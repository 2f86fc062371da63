from __future__ import annotations

import copy

import pytest
import torch
from engine_dummy import RandomImages
from torch import nn

from densecl.data.views import collate_views
from densecl.engine.model import ImageModel, InputNorm
from densecl.engine.step import NonFiniteLossError, optimiser_step
from densecl.methods.base import Method, MethodOutput
from densecl.views.generator import ViewGenerator


class Regression(Method):
    """Loss without batch norm or randomness, so that micro-batches can be compared to a batch."""

    def __init__(self, nan: bool = False) -> None:
        super().__init__()
        self.net = nn.Linear(3, 2)
        self.nan = nan
        self.steps: list[int] = []

    def forward(self, views):
        out = self.net(views[0].image.mean((2, 3)))
        loss = out.float().pow(2).mean()
        loss = loss * float("nan") if self.nan else loss
        telemetry = {"first": views[0].image[0, 0, 0, 0].detach(), "two": 2.0}
        return MethodOutput({"a": loss, "b": 0.5 * loss}, telemetry, rows=out.detach())

    def after_step(self, step):
        self.steps.append(step)

    def backbone_for_export(self):
        return self.net

    @property
    def export_branch(self):
        return "online"


def model(**options):
    torch.manual_seed(0)
    return ImageModel(Regression(**options), InputNorm((120.0,) * 3, (60.0,) * 3))


def views(indices, seed=0):
    data, cut = RandomImages(), ViewGenerator("none", size=16, seed=seed)
    return collate_views([cut(data[i], 0) for i in indices])


def step(net, batches, **options):
    optimizer = torch.optim.SGD(net.parameters(), lr=123.0)
    return optimiser_step(net, optimizer, batches, **{"step": 1, "lr": 0.1, **options})


def test_micro_batches_of_equal_size_equal_one_batch():
    whole, parts = model(), model()
    one = step(whole, [views(range(8))])
    four = step(parts, [views(range(i, i + 2)) for i in range(0, 8, 2)])
    # Sums in another order, in float32.
    torch.testing.assert_close(whole.state_dict(), parts.state_dict(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(one.scalars["loss"], four.scalars["loss"], rtol=1e-5, atol=1e-6)
    assert (one.samples, four.samples, four.micro_samples) == (8, 8, 2)


def test_the_step_is_the_hand_written_one():
    net = model()
    twin = copy.deepcopy(net)
    report = step(net, [views(range(4))])
    image = (views(range(4))[0].image.float() - 120.0) / 60.0
    loss = 1.5 * twin.method.net(image.mean((2, 3))).pow(2).mean()
    loss.backward()
    for moved, still in zip(net.method.parameters(), twin.method.parameters(), strict=True):
        torch.testing.assert_close(moved, still - 0.1 * still.grad, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(report.scalars["loss"], loss.detach(), rtol=1e-5, atol=1e-7)


def test_the_method_follows_once_per_step_with_the_steps_number():
    net = model()
    step(net, [views([0, 1]), views([2, 3])], step=7)
    assert net.method.steps == [7]


def test_losses_and_telemetry_are_means_over_micro_batches():
    net = model()
    halves = [step(copy.deepcopy(net), [views(i)]) for i in ([0, 1], [2, 3])]
    both = step(net, [views([0, 1]), views([2, 3])])
    for name in ("loss", "loss_a", "loss_b", "first"):
        mean = (halves[0].scalars[name] + halves[1].scalars[name]) / 2
        assert float(both.scalars[name]) == pytest.approx(float(mean), rel=1e-6)
    assert both.scalars["two"] == 2.0
    assert both.scalars["lr"] == 0.1
    assert float(both.scalars["loss"]) == pytest.approx(3 * float(both.scalars["loss_b"]))


def test_a_loss_that_is_not_finite_moves_nothing_and_names_step_and_term():
    net = model(nan=True)
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(NonFiniteLossError, match=r"step 9 .*loss_a"):
        step(net, [views([0, 1])], step=9)
    torch.testing.assert_close(net.state_dict(), before, rtol=0, atol=0)
    assert net.method.steps == []


def test_clipping_bounds_the_whole_gradient():
    net = model()
    before = torch.cat([p.detach().flatten().clone() for p in net.parameters()])
    report = step(net, [views(range(4))], grad_clip=1e-3)
    after = torch.cat([p.detach().flatten() for p in net.parameters()])
    assert float(report.scalars["grad_norm"]) > 1e-3
    assert float((after - before).norm()) == pytest.approx(0.1 * 1e-3, rel=1e-3)


def test_bf16_keeps_float32_weights_and_comes_close():
    exact, rounded = model(), model()
    step(exact, [views(range(4))])
    step(rounded, [views(range(4))], amp="bf16")
    assert all(p.dtype == torch.float32 for p in rounded.parameters())
    differs = False
    for a, b in zip(exact.parameters(), rounded.parameters(), strict=True):
        # bf16 has 8 bits of mantissa; the update is a tenth of the gradient.
        torch.testing.assert_close(a, b, rtol=2e-2, atol=1e-3)
        differs |= not torch.equal(a, b)
    assert differs
