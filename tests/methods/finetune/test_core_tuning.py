"""Pieces of Core-tuning against slow loops, and against copies of the published code's faults."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from methods.finetune import reference_faults as faults
from torch.nn import functional

from densecl.methods.finetune.core_tuning import (
    focal_contrast,
    hard_partners,
    mixtures,
    sample_pixels,
    soft_cross_entropy,
)


def draw(seed=0):
    return np.random.default_rng(seed)


def features_of(*labels, dim=6, seed=0):
    """Rows as they come out of a ReLU, float64, and their labels."""
    labels = torch.tensor(labels)
    rows = torch.rand(len(labels), dim, generator=torch.Generator().manual_seed(seed)).double()
    return rows, labels


def one_hot(labels, num_classes=None):
    return functional.one_hot(labels, num_classes or -1).double()


# partners


def slow_partners(features, labels):
    unit = functional.normalize(features.double(), dim=1)
    positive, negative = [], []
    for i in range(len(labels)):
        same = [j for j in range(len(labels)) if labels[j] == labels[i] and j != i]
        other = [j for j in range(len(labels)) if labels[j] != labels[i]]
        positive.append(min(same, key=lambda j: float(unit[i] @ unit[j])) if same else i)
        negative.append(max(other, key=lambda j: float(unit[i] @ unit[j])) if other else i)
    return positive, negative


def check_partners(find):
    features, labels = features_of(0, 1, 0, 2, 1, 2, 0, 1)
    found = find(features, labels)
    positive, negative = slow_partners(features, labels)
    assert found.positive.tolist() == positive
    assert found.negative.tolist() == negative


def test_partners_equal_a_loop():
    check_partners(hard_partners)


def test_fault_1_zeros_in_place_of_what_is_no_positive():
    with pytest.raises(AssertionError):
        check_partners(faults.partners_zero_filled)


def test_the_least_similar_of_the_own_class_and_the_most_similar_of_another():
    # cosines with row 0: .9, .2 and .5
    angles = [0.0, math.acos(0.9), -math.acos(0.2), math.acos(0.5)]
    rows = torch.tensor([[math.cos(a), math.sin(a)] for a in angles])
    found = hard_partners(rows, torch.tensor([0, 0, 0, 1]))
    assert found.positive[0] == 2
    assert found.negative[0] == 3
    assert found.positive[3] == 3, "a class with one member returns itself"
    assert found.has_positive.tolist() == [True, True, True, False]
    assert found.has_negative.all()


def test_negative_cosines_are_searched_too():
    rows = torch.tensor([[1.0, 0.0], [-1.0, 0.1], [-0.9, -0.5], [-0.5, 1.0]])
    found = hard_partners(rows, torch.tensor([0, 0, 1, 1]))
    assert found.negative[0] == 3


def test_one_class_has_no_negative_and_no_row_has_no_partner():
    rows, labels = features_of(3, 3, 3)
    found = hard_partners(rows, labels)
    assert not found.has_negative.any()
    assert found.negative.tolist() == [0, 1, 2]
    empty = hard_partners(rows[:0], labels[:0])
    assert len(empty.positive) == 0


# mixtures


def test_mixtures_equal_a_loop():
    features, labels = features_of(0, 1, 0, 2, 1, 0)
    targets, partners = one_hot(labels), hard_partners(features, labels)
    rows, soft = mixtures(features, targets, partners, 1.0, draw(3))
    shares = draw(3).beta(1.0, 1.0, (2, 6))
    expected, expected_soft = list(features), list(targets)
    for i in range(6):
        s, n = max(shares[0, i], 1 - shares[0, i]), partners.negative[i]
        expected.append((1 - s) * features[i] + s * features[n])
        expected_soft.append((1 - s) * targets[i] + s * targets[n])
    for i in range(6):
        s, p, n = (
            max(shares[1, i], 1 - shares[1, i]),
            partners.positive[i],
            partners.negative[i],
        )
        if partners.has_positive[i]:
            expected.append(s * features[p] + (1 - s) * features[n])
            expected_soft.append(s * targets[p] + (1 - s) * targets[n])
    torch.testing.assert_close(rows, torch.stack(expected))
    torch.testing.assert_close(soft, torch.stack(expected_soft))
    assert len(rows) == 17, "the class of one member has no hard positive"
    torch.testing.assert_close(soft.sum(1), torch.ones(17).double())


def test_without_mixing_the_mixtures_are_the_partners():
    features, labels = features_of(0, 0, 1, 1)
    partners = hard_partners(features, labels)
    rows, soft = mixtures(features, one_hot(labels), partners, 0.0, draw())
    assert torch.equal(rows[4:8], features[partners.negative])
    assert torch.equal(rows[8:], features[partners.positive])
    assert soft.unique().tolist() == [0, 1]


def check_own_rows_carry_gradient(mix):
    features, labels = features_of(0, 0, 1, 1)
    features.requires_grad_()
    rows, _ = mix(features, one_hot(labels), hard_partners(features, labels), 1.0, draw())
    (gradient,) = torch.autograd.grad(rows[:4].sum(), features, allow_unused=True)
    assert gradient is not None
    assert torch.equal(gradient, torch.ones_like(gradient))


def test_rows_themselves_carry_gradient():
    check_own_rows_carry_gradient(mixtures)


def test_fault_2_rows_that_carry_no_gradient():
    with pytest.raises((AssertionError, RuntimeError)):
        check_own_rows_carry_gradient(faults.mixtures_of_a_detached_copy)


def check_hard_negatives_are_hard(mix):
    """No mixed negative lies further from its row than the hardest real one."""
    features, labels = features_of(*[i % 4 for i in range(24)])
    partners = hard_partners(features, labels)
    rows, _ = mix(features, one_hot(labels), partners, 1.0, draw())
    hardest = functional.cosine_similarity(features, features[partners.negative])
    mixed = functional.cosine_similarity(features, rows[24:48])
    assert (mixed >= hardest - 1e-12).all()


def test_mixed_negatives_are_hard():
    check_hard_negatives_are_hard(mixtures)


def test_fault_6_negatives_that_are_hard_in_name_only():
    with pytest.raises(AssertionError):
        check_hard_negatives_are_hard(faults.mixtures_with_strangers)


# contrast


def slow_contrast(rows, targets, temperature, keys=None, key_targets=None):
    columns = list(rows) + ([] if keys is None else list(keys))
    shares = list(targets) + ([] if keys is None else list(key_targets))
    total, mass = torch.zeros(targets.shape[1]).double(), torch.zeros(targets.shape[1]).double()
    for i in range(len(rows)):
        others = [j for j in range(len(columns)) if j != i]
        weight = torch.stack([targets[i] @ shares[j] for j in others])
        if not len(others) or weight.max() <= 0 or weight.min() > 1 - 1e-6:
            continue
        p = torch.stack([rows[i] @ columns[j] / temperature for j in others]).softmax(0)
        cost = (weight * -(1 - p) * p.log()).sum() / weight.sum()
        total, mass = total + targets[i] * cost, mass + targets[i]
    return (total[mass > 0] / mass[mass > 0]).mean()


@pytest.mark.parametrize("with_keys", [False, True])
def test_contrast_equals_a_loop(with_keys):
    generator = torch.Generator().manual_seed(1)
    rows = functional.normalize(torch.randn(12, 5, generator=generator).double(), dim=1)
    targets = torch.cat([one_hot(torch.tensor([0, 0, 1, 2, 2, 2, 4]), 5), torch.zeros(5, 5)])
    targets[7:] = torch.rand(5, 5, generator=generator).double().softmax(1)
    keys = key_targets = None
    if with_keys:
        keys = functional.normalize(torch.randn(6, 5, generator=generator).double(), dim=1)
        key_targets = one_hot(torch.tensor([0, 1, 4, 4, 3, 3]), 5)
    found = focal_contrast(rows, targets, temperature=0.3, keys=keys, key_targets=key_targets)
    expected = slow_contrast(rows, targets, 0.3, keys, key_targets)
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)


def test_gradient_is_right():
    generator = torch.Generator().manual_seed(2)
    rows = torch.randn(6, 3, generator=generator).double().requires_grad_()
    targets = one_hot(torch.tensor([0, 0, 1, 1, 2, 2]))
    targets[5] = torch.tensor([0.3, 0.0, 0.7])
    assert torch.autograd.gradcheck(
        lambda x: focal_contrast(functional.normalize(x, dim=1), targets, temperature=0.5), rows
    )


def test_a_pair_at_even_odds_costs_half_a_bit():
    # row 0 has one positive and one negative at the same cosine; the others stand across
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]).double()
    targets = one_hot(torch.tensor([0, 0, 1]))
    # row 1 sees its positive at cosine 0 and the negative at -1: certain at a low temperature
    found = focal_contrast(rows, targets, temperature=0.01)
    # row 2 has no positive; class 0 averages rows 0 and 1
    assert found.item() == pytest.approx(0.5 * math.log(2) / 2, abs=1e-12)


def test_a_certain_pair_costs_nothing():
    rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]]).double()
    found = focal_contrast(rows, one_hot(torch.tensor([0, 0, 1, 1])), temperature=0.02)
    assert found.item() == pytest.approx(0, abs=1e-30)


def test_rare_classes_weigh_as_much_as_frequent_ones():
    rows = functional.normalize(
        torch.randn(4, 3, generator=torch.Generator().manual_seed(3)), dim=1
    )
    rows = torch.cat([rows.double(), rows[:2].double().repeat(10, 1)])
    labels = torch.tensor([0, 0, 1, 1] + [0, 0] * 10)
    targets = one_hot(labels)
    by_class = []
    score = rows @ rows.T / 0.5
    for c in (0, 1):
        costs = []
        for i in (labels == c).nonzero().squeeze(1).tolist():
            others = torch.tensor([j for j in range(len(rows)) if j != i])
            p = score[i, others].softmax(0)[labels[others] == c]
            costs.append((-(1 - p) * p.log()).mean())
        by_class.append(torch.stack(costs).mean())
    found = focal_contrast(rows, targets, temperature=0.5)
    assert found.item() == pytest.approx(torch.stack(by_class).mean().item(), rel=1e-12)


def check_scale_does_not_depend_on_easy_rows(contrast):
    """Rows that no one confuses with anything leave the others' loss where it was."""
    axes = torch.eye(8).double()
    near = functional.normalize(axes[0] + 0.4 * axes[1], dim=0)
    rows = torch.stack([axes[0], near, axes[2], axes[2]])
    targets = one_hot(torch.tensor([0, 0, 1, 1]), 4)
    few = contrast(rows, targets, temperature=0.5)
    # a third class, opposite to all: its own pairs are certain, its odds with the others are nil
    away = -functional.normalize(rows.sum(0), dim=0).expand(40, -1)
    many = contrast(
        torch.cat([rows, away]),
        torch.cat([targets, one_hot(torch.full((40,), 2), 4)]),
        temperature=0.05,
    )
    alone = contrast(rows, targets, temperature=0.05)
    assert few > alone > 0
    # the new class costs (1 - 1/39) log 39 on average: compare the sum over classes
    new = (1 - 1 / 39) * math.log(39)
    assert many.item() * 3 == pytest.approx(alone.item() * 2 + new, rel=1e-6)


def test_easy_rows_leave_the_loss_where_it_was():
    check_scale_does_not_depend_on_easy_rows(focal_contrast)


def test_fault_4_a_mean_over_all_columns():
    with pytest.raises(AssertionError):
        check_scale_does_not_depend_on_easy_rows(faults.contrast_over_all_columns)


def check_overlap(overlap):
    """Twenty-one classes and their mixtures: equal targets agree, foreign ones do not."""
    plain = one_hot(torch.arange(21)).float()
    assert torch.equal(overlap(plain), torch.eye(21))
    mixed = 0.6 * plain[:-1] + 0.4 * plain[1:]
    found = overlap(torch.cat([plain, mixed]))
    for c in range(20):
        assert found[21 + c, c] == pytest.approx(0.6)
        assert found[21 + c, c + 1] == pytest.approx(0.4)
        assert found[21 + c, (c + 5) % 20] == 0


def test_mixed_targets_overlap_by_their_shares():
    check_overlap(lambda targets: targets @ targets.T)
    # and the loss reads exactly that: a mixture pulls by its share
    rows = functional.normalize(torch.rand(5, 4, generator=torch.Generator().manual_seed(4)), dim=1)
    rows = rows.double()
    targets = one_hot(torch.tensor([20, 20, 3, 19, 19]), 21)
    targets[4] = 0.6 * one_hot(torch.tensor(19), 21) + 0.4 * one_hot(torch.tensor(20), 21)
    found = focal_contrast(rows, targets, temperature=0.4)
    assert found.item() == pytest.approx(slow_contrast(rows, targets, 0.4).item(), rel=1e-12)


def test_fault_3_targets_as_integers():
    with pytest.raises(AssertionError):
        check_overlap(faults.overlap_of_hashes)


@pytest.mark.parametrize("labels", [(), (2,), (2, 2, 2), (0, 1, 2)])
def test_without_a_positive_and_a_negative_the_loss_is_an_attached_zero(labels):
    rows = torch.randn(len(labels), 3, requires_grad=True)
    targets = functional.one_hot(torch.tensor(labels, dtype=torch.int64), 21).float()
    loss = focal_contrast(functional.normalize(rows, dim=1), targets)
    loss.backward()
    assert loss.item() == 0
    assert not rows.grad.any()


def test_a_row_that_costs_nothing_gets_a_gradient_that_is_a_number():
    rows = torch.randn(5, 3, generator=torch.Generator().manual_seed(6)).requires_grad_()
    targets = functional.one_hot(torch.tensor([0, 0, 1, 2, 2])).float()
    focal_contrast(functional.normalize(rows, dim=1), targets).backward()
    assert rows.grad.isfinite().all()
    assert rows.grad[2].any(), "it has no positive, but the others keep away from it"


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="targets"):
        focal_contrast(torch.ones(3, 2), torch.ones(2, 4))
    with pytest.raises(ValueError, match="temperature"):
        focal_contrast(torch.ones(3, 2), torch.ones(3, 4), temperature=0.0)


def test_soft_cross_entropy_equals_a_loop_over_classes():
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(7, 4, generator=generator).double()
    targets = torch.rand(7, 4, generator=generator).double()
    targets[:, 3] = 0
    targets /= targets.sum(1, keepdim=True)
    log_p = logits.log_softmax(1)
    means = []
    for c in range(3):
        weights = [targets[i, c] for i in range(7)]
        costs = [-sum(targets[i, k] * log_p[i, k] for k in range(4)) for i in range(7)]
        means.append(sum(w * v for w, v in zip(weights, costs, strict=True)) / sum(weights))
    expected = sum(means) / 3
    assert soft_cross_entropy(logits, targets).item() == pytest.approx(expected.item(), rel=1e-12)
    assert soft_cross_entropy(logits[:0], targets[:0]).item() == 0


# pixels


def test_pixels_are_drawn_evenly_over_classes_and_pictures():
    labels = torch.zeros(2, 8, 8, dtype=torch.int64)
    labels[0, :2], labels[0, 2, :3], labels[1] = 255, 7, 4
    chosen = sample_pixels(labels, draw(), pixels=5, rows=1000)
    classes = labels.flatten()[chosen]
    picture = chosen // 64
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    counts = {
        (b, c): int(((picture == b) & (classes == c)).sum()) for b in (0, 1) for c in (0, 4, 7)
    }
    assert counts == {(0, 0): 5, (0, 4): 0, (0, 7): 3, (1, 0): 0, (1, 4): 5, (1, 7): 0}
    assert 255 not in classes
    assert not torch.equal(chosen, sample_pixels(labels, draw(1), pixels=5, rows=1000))
    assert torch.equal(chosen, sample_pixels(labels, draw(), pixels=5, rows=1000))


def test_beyond_the_limit_rare_classes_stay():
    labels = torch.zeros(1, 10, 10, dtype=torch.int64)
    labels[0, 0, :4] = 1
    chosen = sample_pixels(labels, draw(), pixels=64, rows=12)
    assert torch.bincount(labels.flatten()[chosen]).tolist() == [8, 4]


def test_every_pixel_can_be_drawn():
    labels = torch.zeros(1, 3, 4, dtype=torch.int64)
    seen = {
        cell
        for seed in range(60)
        for cell in sample_pixels(labels, draw(seed), pixels=2, rows=9).tolist()
    }
    assert seen == set(range(12))


def test_unlabelled_pictures_give_no_pixel():
    labels = torch.full((2, 4, 4), 255)
    assert len(sample_pixels(labels, draw(), pixels=4, rows=9)) == 0
    assert len(sample_pixels(labels[:0], draw(), pixels=4, rows=9)) == 0
