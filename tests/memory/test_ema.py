import copy

import pytest
import torch
from torch import nn

from densecl.memory import EMA, cosine


def network(seed=0, width=4):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width), nn.Linear(width, 2))


def moved(online, seed=1):
    """A copy with other parameters and statistics, as after some training."""
    other = copy.deepcopy(online)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in [*other.parameters(), other[1].running_mean, other[1].running_var]:
            tensor.add_(torch.rand(tensor.shape, generator=draw) + 0.5)
    return other


def test_the_teacher_starts_as_an_equal_but_separate_copy():
    online = network()
    ema = EMA(online)
    for a, b in zip(ema.teacher.parameters(), online.parameters(), strict=True):
        assert torch.equal(a, b)
        assert a.data_ptr() != b.data_ptr()
        assert not a.requires_grad
        assert b.requires_grad


def test_update_is_the_weighted_mean_with_the_momentum_on_the_teachers_side():
    online = network()
    ema, other = EMA(online, 0.75), moved(online)
    assert ema.update(other) == 0.75
    for old, new, got in zip(
        online.parameters(), other.parameters(), ema.teacher.parameters(), strict=True
    ):
        assert torch.allclose(got, 0.75 * old + 0.25 * new, atol=1e-6)


def test_momentum_one_freezes_the_teacher_and_zero_copies():
    online = network()
    other = moved(online)
    frozen, follower = EMA(online, 1.0), EMA(online, 0.0)
    frozen.update(other)
    follower.update(other)
    for old, new, a, b in zip(
        *(m.parameters() for m in (online, other, frozen.teacher, follower.teacher)), strict=True
    ):
        assert torch.equal(a, old)
        assert torch.equal(b, new)


def test_the_online_network_is_left_alone():
    online = network()
    before = {name: value.clone() for name, value in online.state_dict().items()}
    EMA(moved(online), 0.5).update(online)
    assert all(torch.equal(before[name], value) for name, value in online.state_dict().items())
    assert all(p.requires_grad for p in online.parameters())


@pytest.mark.parametrize("policy", ["keep", "copy"])
def test_batch_norm_statistics_follow_the_named_policy(policy):
    online = network()
    ema, other = EMA(online, 0.5, buffers=policy), moved(online)
    other[1].num_batches_tracked += 7
    ema.update(other)
    source = other if policy == "copy" else online
    for name, value in source.named_buffers():
        assert torch.equal(dict(ema.teacher.named_buffers())[name], value), name


def test_the_teacher_passes_no_gradient():
    ema = EMA(network())
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert not ema(x).requires_grad


def test_steps_may_be_counted_by_the_caller_or_here():
    schedule = cosine(0.5, 1.0, 10)
    online = network()
    ema = EMA(online, schedule)
    assert ema.momentum == 0.5
    assert [ema.update(online) for _ in range(3)] == [schedule(1), schedule(2), schedule(3)]
    assert ema.update(online, step=7) == schedule(7)
    assert int(ema.step) == 7


class CounterInAnAttribute(EMA):
    """A known fault of a published code: the schedule's counter is not part of the state."""

    def __init__(self, online, momentum):
        super().__init__(online, momentum)
        self.count = 0

    def update(self, online, step=None):
        self.count += 1
        return super().update(online, self.count)


def momenta(make, folder, stop):
    """Momenta of 6 updates, through a checkpoint after ``stop`` of them."""
    online = network()
    ema, used = make(online, cosine(0.5, 1.0, 6)), []
    for t in range(6):
        if t == stop:
            torch.save(ema.state_dict(), folder / "ema.pth")
            ema = make(network(), cosine(0.5, 1.0, 6))
            ema.load_state_dict(torch.load(folder / "ema.pth", weights_only=True))
        used.append(ema.update(moved(online, seed=t)))
    return used, ema.teacher.state_dict()


def resumes_exactly(make, folder):
    straight, weights = momenta(make, folder, stop=None)
    resumed, again = momenta(make, folder, stop=3)
    same = all(torch.equal(weights[name], again[name]) for name in weights)
    return straight == resumed and same


def test_resume_continues_the_momentum_schedule(tmp_path):
    assert resumes_exactly(EMA, tmp_path)


def test_the_resume_test_sees_a_counter_that_restarts(tmp_path):
    assert not resumes_exactly(CounterInAnAttribute, tmp_path)


def test_networks_that_differ_are_refused_by_name():
    ema = EMA(network())
    with pytest.raises(ValueError, match=r"0\.weight"):
        ema.update(network(width=5))
    with pytest.raises(ValueError, match=r"3\.bias"):
        ema.update(nn.Sequential(*network(), nn.Linear(2, 2)))
    with pytest.raises(ValueError, match="buffers"):
        EMA(network(), buffers="average")
    with pytest.raises(ValueError, match="half"):
        EMA(network().bfloat16())


def test_a_momentum_of_0_999_still_moves_float32():
    online = network()
    ema = EMA(online, 0.999)
    before = ema.teacher[0].weight.clone()
    ema.update(moved(online))
    assert not torch.equal(before, ema.teacher[0].weight)
