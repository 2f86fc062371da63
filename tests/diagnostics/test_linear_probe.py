from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from densecl.data.sample import Frame, Sample
from densecl.diagnostics.linear_probe import (
    cells,
    fit_logistic,
    fit_probe,
    label_cells,
    score,
)
from densecl.errors import UsageError
from densecl.models.contract import Features


class Pool(nn.Module):
    """Mean colour of 4 x 4 cells, behind a batch norm and a dropout."""

    def __init__(self):
        super().__init__()
        self.norm, self.drop = nn.BatchNorm2d(3), nn.Dropout(0.5)

    def forward(self, x, mask=None):
        return Features({4: nn.functional.avg_pool2d(self.drop(self.norm(x)), 4)})


class Labelled:
    """Image i: left half bright and of class 1; one ignored column."""

    def __init__(self, maps=("label",)):
        self.maps = maps

    def __len__(self):
        return 10

    def __getitem__(self, i):
        image = np.full((8, 16, 3), i, np.uint8)
        image[:, :8] += 100
        label = np.zeros((8, 16), np.uint8)
        label[:, :8] = 1
        label[:, 12:] = 255
        return Sample((Frame(image, dict.fromkeys(self.maps, label)),), i, f"image {i}")


def test_ridge_solution_equals_the_augmented_least_squares():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(40, 5)) * 3 + 1, random.integers(0, 3, 40)
    probe = fit_probe(torch.from_numpy(x), torch.from_numpy(y), ridge=0.07)
    z = (x - x.mean(0)) / x.std(0)
    targets = np.eye(3)[y]
    centred = targets - targets.mean(0)
    tall = np.vstack([z / np.sqrt(40), np.sqrt(0.07) * np.eye(5)])
    goal = np.vstack([centred / np.sqrt(40), np.zeros((5, 3))])
    expected, *_ = np.linalg.lstsq(tall, goal, rcond=None)
    np.testing.assert_allclose(probe.weight.numpy(), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(probe.bias.numpy(), targets.mean(0), rtol=1e-12)


def separable(count=600, seed=0):
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 3, (count,), generator=generator)
    x = torch.randn(count, 5, generator=generator) + 3 * nn.functional.one_hot(y, 5)
    return x, y


def test_logistic_solution_has_no_gradient():
    x, y = separable()
    weight, bias = (p.double().requires_grad_() for p in fit_logistic(x, y, 3, 0.01, 200))
    loss = nn.functional.cross_entropy(x.double() @ weight.T + bias, y)
    (loss + 0.005 * weight.square().sum()).backward()
    # float32 optimisation
    assert weight.grad.abs().max() < 1e-3
    assert bias.grad.abs().max() < 1e-3


def test_what_is_separable_is_separated():
    x, y = separable()
    weight, bias = fit_logistic(x, y, 3, 1e-4, 100)
    assert ((x @ weight.T + bias).argmax(1) == y).float().mean() > 0.97


def test_separable_classes_are_separated_and_shuffled_labels_are_not():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 4, (400,), generator=generator)
    features = nn.functional.one_hot(labels, 4) * 5.0 + torch.randn(400, 4, generator=generator)
    assert fit_probe(features, labels).score(features, labels).accuracy > 0.95
    shuffled = labels[torch.randperm(400, generator=generator)]
    assert fit_probe(features, shuffled).score(features, shuffled).accuracy < 0.45


def test_a_constant_channel_changes_nothing():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(50, 3, generator=generator), torch.arange(50) % 2
    wide = torch.cat([x, torch.full((50, 1), 7.0)], 1)
    assert torch.equal(fit_probe(x, y).predict(x), fit_probe(wide, y).predict(wide))


def test_scores_equal_the_set_computation():
    random = np.random.default_rng(2)
    predicted, truth = random.integers(0, 4, 60), random.integers(0, 3, 60)
    overlaps = []
    for label in sorted({*predicted.tolist(), *truth.tolist()}):
        a = {i for i in range(60) if predicted[i] == label}
        b = {i for i in range(60) if truth[i] == label}
        overlaps.append(len(a & b) / len(a | b))
    result = score(torch.from_numpy(predicted), torch.from_numpy(truth))
    assert result.miou == pytest.approx(np.mean(overlaps))
    assert result.accuracy == pytest.approx((predicted == truth).mean())


def test_no_cells_are_refused():
    with pytest.raises(ValueError, match="no labelled"):
        score(torch.zeros(0), torch.zeros(0))
    with pytest.raises(ValueError):
        fit_probe(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64))


def test_a_cell_takes_the_label_of_the_pixel_at_its_centre():
    label = torch.arange(48).view(6, 8)
    grid = label_cells(label, 3, 2)
    for i in range(3):
        for j in range(2):
            assert grid[i, j] == label[int((i + 0.5) * 2), int((j + 0.5) * 4)]
    assert torch.equal(label_cells(label, 6, 8), label)


def test_label_is_read_under_the_cell_centre():
    truth = np.arange(32 * 48).reshape(32, 48)
    cells = label_cells(torch.from_numpy(truth), 4, 6)
    assert cells[0, 0] == truth[4, 4]
    assert cells[3, 5] == truth[28, 44]
    uneven = label_cells(torch.arange(10)[None].repeat(3, 1), 1, 4)
    assert uneven.tolist() == [[1, 3, 6, 8]]  # centres 1.25, 3.75, 6.25, 8.75


def test_cells_carry_the_features_of_their_own_place_and_skip_ignored_ones():
    features, labels = cells(Pool().train(), nn.Identity().float(), FloatLabelled(), 10)
    assert features.shape == (10 * 6, 3)
    bright = features[:, 0] > 50
    assert torch.equal(bright, labels == 1)


class FloatLabelled(Labelled):
    def __getitem__(self, i):
        sample = super().__getitem__(i)
        sample.frames[0].image = sample.frames[0].image.astype(np.float32)
        return sample


@pytest.mark.parametrize(("count", "images"), [(1, 1), (4, 4), (10, 10), (99, 10)])
def test_as_many_images_are_used_as_asked_or_as_there_are(count, images):
    _, labels = cells(Pool(), nn.Identity(), FloatLabelled(), count)
    assert len(labels) == images * 6


def test_unlabelled_data_is_refused_by_name():
    with pytest.raises(UsageError, match="image 0 has no label"):
        cells(Pool(), nn.Identity(), Labelled(maps=()), 3)
