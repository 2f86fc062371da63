from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from methods.worlds import TINY, random_views, train_step

from densecl.errors import UsageError
from densecl.methods import DenseCL, MoCoV2


def densecl(**changes) -> DenseCL:
    torch.manual_seed(0)
    return DenseCL(TINY, **{"dim": 16, "queue_size": 24, "momentum": 0.9, **changes})


def dense_loss_by_hand(method: DenseCL, views) -> float:
    """Eq. 2 of the paper with loops in float64."""
    with torch.no_grad():
        f_q = method.online["backbone"](views[0].image).maps[method.stride]
        f_k = method.teacher["backbone"](views[1].image).maps[method.stride]
        d_q, d_k = method.online["dense_projector"](f_q), method.teacher["dense_projector"](f_k)

    def unit(array):
        array = array.double().numpy()
        return array / np.linalg.norm(array, axis=1, keepdims=True)

    f_q, f_k, d_q, d_k = (unit(x.flatten(2)) for x in (f_q, f_k, d_q, d_k))
    bank = method.queue_dense.feature.double().numpy()[method.queue_dense.live.numpy()]
    losses = []
    for b in range(f_q.shape[0]):
        for i in range(f_q.shape[2]):
            similar = [f_q[b, :, i] @ f_k[b, :, j] for j in range(f_k.shape[2])]
            match = int(np.argmax(similar))
            positive = math.exp(d_q[b, :, i] @ d_k[b, :, match] / 0.2)
            negative = sum(math.exp(d_q[b, :, i] @ row / 0.2) for row in bank)
            losses.append(-math.log(positive / (positive + negative)))
    return float(np.mean(losses))


@pytest.mark.parametrize("queue", ["pooled", "local"])
def test_dense_loss_equals_a_float64_loop_over_cells_and_keys(queue):
    method = densecl(dense_queue=queue, dense_weight=1.0)
    for number in (1, 2, 3):
        train_step(method, random_views(6, size=64, seed=number), number)
    method.eval()
    views = random_views(3, size=64, seed=9)
    output = method(views)
    assert len(output.pairs) == 3 * 4 * 4
    by_hand = dense_loss_by_hand(method, views)
    assert float(output.losses["dense"].detach()) == pytest.approx(by_hand, rel=1e-5)
    assert float(output.losses["global"].detach()) == 0.0


def test_weight_zero_is_moco_v2_bit_for_bit_and_leaves_the_dense_head_alone():
    dense = densecl(dense_weight=0.0)
    torch.manual_seed(0)
    plain = MoCoV2(TINY, dim=16, queue_size=24, momentum=0.9)
    plain.online.load_state_dict(dense.online.state_dict(), strict=False)
    plain.teacher.load_state_dict(dense.teacher.state_dict(), strict=False)
    for number in (1, 2, 3):
        views = random_views(6, seed=number)
        ours, theirs = dense(views), plain(views)
        total = sum(ours.losses.values())
        assert torch.equal(total, theirs.losses["global"])
        total.backward()
        theirs.losses["global"].backward()
        for name, parameter in plain.online.named_parameters():
            assert torch.equal(parameter.grad, dense.online.get_parameter(name).grad), name
        assert all((p.grad == 0).all() for p in dense.online["dense_projector"].parameters())
        for method in (dense, plain):
            with torch.no_grad():
                for parameter in method.online.parameters():
                    parameter -= 0.1 * parameter.grad
                    parameter.grad = None
            method.after_step(number)


def test_warmup_holds_the_dense_loss_back_for_its_steps_and_survives_a_checkpoint():
    method = densecl(dense_warmup=2)
    weights = []
    for number in (1, 2, 3):
        if number == 3:  # resumed here
            state, method = method.state_dict(), densecl(dense_warmup=2)
            method.load_state_dict(state)
        weights.append(
            float(train_step(method, random_views(6, seed=number), number).losses["dense"].detach())
            > 0
        )
    assert weights == [False, False, True]


def test_matching_uses_backbone_features_and_passes_no_gradient():
    """Another dense head changes the loss, not the pairs; pairs of equal views are the identity."""
    method = densecl().eval()
    view = random_views(2, size=64, seed=4)[0]
    method.teacher.load_state_dict(method.online.state_dict())
    pairs = method([view, view]).pairs
    assert torch.equal(pairs.src, pairs.dst)
    other = random_views(2, size=64, seed=5)[0]
    before = method([view, other]).pairs
    with torch.no_grad():
        for parameter in method.online["dense_projector"].parameters():
            parameter.copy_(torch.randn_like(parameter))
    assert torch.equal(before.dst, method([view, other]).pairs.dst)
    queries = method.points(method.online, method.online["backbone"](view.image), view)
    assert not queries.fields["match"].requires_grad
    assert queries.fields["loss"].requires_grad


def test_branches_are_not_swapped():
    """Other teacher weights change dense keys, never dense queries."""
    method = densecl().eval()
    view = random_views(2, seed=3)[0]

    def rows(branch):
        with torch.no_grad():
            return method.points(branch, branch["backbone"](view.image), view).fields["loss"]

    query, key = rows(method.online), rows(method.teacher)
    with torch.no_grad():
        for parameter in method.teacher["dense_projector"].parameters():
            parameter.mul_(-1.5)
    assert torch.equal(rows(method.online), query)
    assert not torch.allclose(rows(method.teacher), key)


def test_pooled_queue_takes_one_key_an_image_and_local_queue_every_cell():
    for kind, rows in (("pooled", 4), ("local", 4 * 4)):
        method = densecl(dense_queue=kind, queue_size=64)
        train_step(method, random_views(4, size=32, seed=1), 1)
        assert int(method.queue_dense.live.sum()) == rows
        sources = method.queue_dense.source[method.queue_dense.live]
        assert sources.bincount().tolist() == [rows // 4] * 4


def test_pooled_key_is_the_unit_mean_of_the_unnormalised_cells():
    method = densecl()
    views = random_views(3, size=64, seed=2)
    method.train()
    with torch.no_grad():
        cells = method.teacher["dense_projector"](
            method.teacher["backbone"](views[1].image).maps[method.stride]
        )
    expected = torch.nn.functional.normalize(cells.mean((2, 3)), dim=1)
    method.load_state_dict(densecl().state_dict())
    method(views)
    method.after_step(1)
    torch.testing.assert_close(method.queue_dense.feature[:3], expected)


def test_grid_pools_matched_and_projected_cells_alike():
    method = densecl(grid=3)
    output = train_step(method, random_views(2, size=64), 1)
    assert output.pairs.num_src == 2 * 9
    assert output.telemetry["pairs_per_image"] == 9


def test_shuffled_control_keeps_the_counts_and_breaks_the_matches():
    views = random_views(4, size=64, seed=1)
    honest, control = densecl().eval()(views).pairs, densecl(shuffle_pairs=True).eval()(views).pairs
    assert torch.equal(honest.src, control.src)
    assert torch.equal(honest.dst.sort().values, control.dst.sort().values)
    assert (honest.dst != control.dst).float().mean() > 0.8


def test_unknown_stride_is_refused_with_the_backbones_strides():
    with pytest.raises(UsageError, match=r"stride = 64.*\n.*4, 8, 16"):
        densecl(stride=64)
