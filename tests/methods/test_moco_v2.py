from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from methods.worlds import TINY, random_views, train_step

from densecl.errors import UsageError
from densecl.methods import MoCoV2


def moco(**changes) -> MoCoV2:
    torch.manual_seed(0)
    return MoCoV2(TINY, **{"dim": 16, "queue_size": 24, "momentum": 0.9, **changes})


def test_first_loss_is_zero_and_then_follows_the_number_of_live_keys():
    method = moco()
    first = method(random_views(8, seed=1))
    assert float(first.losses["global"].detach()) == 0.0  # an empty queue holds no negatives
    method.after_step(1)
    second = method(random_views(8, seed=2))
    # At most 8 negatives, cosines within [-1, 1], temperature 0.2.
    assert 0 < float(second.losses["global"].detach()) < math.log(9) + 2 / 0.2


def test_loss_equals_a_float64_loop_over_the_queue():
    method = moco()
    for step in (1, 2):
        train_step(method, random_views(8, seed=step), step)
    method.eval()
    views = random_views(5, seed=9)
    loss = float(method(views).losses["global"].detach())
    with torch.no_grad():
        q = method.online["projector"](method.online["backbone"](views[0].image).pooled())
        k = method.teacher["projector"](method.teacher["backbone"](views[1].image).pooled())
    q, k, bank = q.double().numpy(), k.double().numpy(), method.queue.feature.double().numpy()
    live = method.queue.live.numpy()
    total = 0.0
    for i in range(5):
        qi, ki = q[i] / np.linalg.norm(q[i]), k[i] / np.linalg.norm(k[i])
        positive = math.exp(qi @ ki / 0.2)
        negative = sum(math.exp(qi @ bank[j] / 0.2) for j in range(24) if live[j])
        total -= math.log(positive / (positive + negative))
    assert loss == pytest.approx(total / 5, rel=1e-5)  # float32 features


def test_branches_are_not_swapped():
    """Other teacher weights change the keys, never the queries; and the other way round."""
    method = moco().eval()
    train_step(method.train(), random_views(8), 1)
    method.eval()
    views = random_views(4, seed=3)
    image = views[0].image
    query, key = method.online["backbone"](image).last(), method.encode_keys(image).last()
    with torch.no_grad():
        for parameter in method.teacher.parameters():
            parameter.mul_(1.5)
    assert torch.equal(method.online["backbone"](image).last(), query)
    assert not torch.allclose(method.encode_keys(image).last(), key)


def test_forward_asks_the_online_branch_about_view_0_and_the_teacher_about_view_1():
    method = moco(bn_splits=1).eval()
    seen = {}
    method.online["backbone"].register_forward_hook(lambda m, i, o: seen.update(online=i[0]))
    method.teacher["backbone"].register_forward_hook(lambda m, i, o: seen.update(teacher=i[0]))
    views = random_views(4)
    method(views)
    assert torch.equal(seen["online"], views[0].image)
    assert torch.equal(seen["teacher"], views[1].image)


def test_gradient_reaches_every_online_parameter_and_no_teacher_parameter():
    method = moco()
    train_step(method, random_views(8, seed=1), 1)
    sum(method(random_views(8, seed=2)).losses.values()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in method.online.parameters())
    assert all(p.grad is None for p in method.teacher.parameters())


def test_teacher_moves_by_the_momentum_rule_after_the_step():
    method = moco(momentum=0.75)
    for step in (1, 2):
        before = {n: p.detach().clone() for n, p in method.teacher.named_parameters()}
        train_step(method, random_views(8, seed=step), step)
        online = dict(method.online.named_parameters())
        for name, now in method.teacher.named_parameters():
            expected = 0.75 * before[name] + 0.25 * online[name].detach()
            torch.testing.assert_close(now, expected)
    # The first loss has no negatives, hence no gradient; the second moved the weights.
    assert not torch.equal(now, before[name])


def test_queue_holds_the_newest_keys_with_their_images():
    method = moco()
    for step in (1, 2, 3, 4):
        train_step(
            method, random_views(8, seed=step, sources=list(range(step * 8, step * 8 + 8))), step
        )
    assert bool(method.queue.live.all())
    # 32 keys into 24 rows: the first eight are the oldest, replaced by the fourth push.
    assert method.queue.source.tolist() == [*range(32, 40), *range(16, 32)]
    assert method.queue.pushed.tolist() == [4] * 8 + [2] * 8 + [3] * 8


def test_state_changes_only_after_the_step_and_every_micro_batch_is_remembered():
    method = moco()
    before = copy.deepcopy(method.queue.state_dict())
    method(random_views(4, seed=1))
    method(random_views(4, seed=2))
    assert all(torch.equal(v, before[k]) for k, v in method.queue.state_dict().items())
    method.after_step(1)
    assert int(method.queue.live.sum()) == 8


def test_evaluation_leaves_no_key_behind():
    method = moco().eval()
    method(random_views(4))
    method.after_step(1)
    assert int(method.queue.live.sum()) == 0


def test_keys_of_the_querys_own_image_are_no_negatives():
    def loss_with(own_row_value):
        method = moco(exclude_same_source=True)
        train_step(method, random_views(8, seed=1), 1)
        method.eval()
        with torch.no_grad():
            method.queue.feature[3] = own_row_value  # the row of image 3
        views = random_views(1, seed=5, sources=[3])
        return float(method(views).losses["global"].detach())

    row = torch.nn.functional.normalize(torch.ones(16), dim=0)
    assert loss_with(row) == loss_with(-row)


def test_split_batch_norm_keeps_parameter_names():
    names = moco().online.state_dict().keys()
    assert moco(bn_splits=2).online.state_dict().keys() == names


def test_zero_temperature_is_refused_with_the_field_named():
    with pytest.raises(UsageError, match=r"method\.temperature"):
        moco(temperature=0.0)
