from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from densecl.errors import UsageError
from densecl.methods.finetune.core_tuning import (
    focal_contrast,
    hard_partners,
    mixtures,
    soft_cross_entropy,
)
from densecl.methods.finetune.pixel_contrast import CoreTuning, PixelContrast


def build(**settings):
    torch.manual_seed(0)
    return PixelContrast(5, 3, CoreTuning(dim=4, **settings))


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    features = torch.rand(2, 5, 3, 4, generator=generator)
    labels = torch.randint(0, 3, (2, 6, 8), generator=generator)
    labels[:, :2] = 255
    return features, labels


def test_it_is_its_pieces_on_the_labelled_cells(batch):
    features, labels = batch
    contrast = build(eta=0.3, smooth=0.5, temperature=0.2)
    found = contrast(features, labels, np.random.default_rng(7))
    cells = labels[:, 1::2, 1::2].flatten()
    rows = features.permute(0, 2, 3, 1).reshape(-1, 5)[cells != 255]
    classes = cells[cells != 255]
    one_hot = functional.one_hot(classes, 3).float()
    stream = np.random.default_rng(7)
    stream.permutation(len(classes))  # the draw of the pixels, all of which fit
    mixed, targets = mixtures(rows, one_hot, hard_partners(rows, classes), 1.0, stream)
    embedded = functional.normalize(contrast.project(mixed), dim=1)
    expected = focal_contrast(embedded, targets, temperature=0.2)
    expected = 0.3 * (expected + 0.5 * soft_cross_entropy(contrast.classify(mixed), targets))
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)  # float32 sums


def test_one_class_and_no_class_give_a_finite_attached_loss(batch):
    features, labels = batch
    features.requires_grad_()
    contrast = build(smooth=0.0)
    for fill in (1, 255):
        loss = contrast(features, torch.full_like(labels, fill), np.random.default_rng(0))
        (gradient,) = torch.autograd.grad(loss, features)
        assert loss.item() == 0
        assert not gradient.any()


def test_the_memory_is_compared_with_from_the_second_batch_on(batch):
    features, labels = batch
    plain, remembers = build(smooth=0.0), build(smooth=0.0, memory=8)
    remembers.project = plain.project
    first, second = (
        [each(features, labels, np.random.default_rng(step)).item() for step in (0, 1)]
        for each in (plain, remembers)
    )
    assert first[0] == second[0]
    assert first[1] != second[1]
    rows, classes = remembers.memory.kept()
    assert sorted(classes.unique().tolist()) == sorted(
        set(labels[:, 1::2, 1::2].flatten().tolist()) - {255}
    )
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(len(rows)))


def test_half_precision_maps_are_contrasted_in_float32(batch):
    features, labels = batch
    contrast = build()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = contrast(features.bfloat16(), labels, np.random.default_rng(0))
    assert loss.dtype == torch.float32
    exact = contrast(features.bfloat16().float(), labels, np.random.default_rng(0))
    assert loss.item() == exact.item()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"etta": 0.1}, "eta"),
        ({"eta": -0.1}, "contrast.eta = -0.1"),
        ({"temperature": 0.0}, "contrast.temperature"),
        ({"pixels": 0}, "contrast.pixels"),
        ({"memory": -1}, "contrast.memory"),
    ],
)
def test_settings_that_mean_nothing_are_refused(given, message):
    with pytest.raises(UsageError, match=message):
        CoreTuning.of(given)
