from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from methods.crops import crop_views, dense_matrix, pair_matrix
from methods.test_pixel_level import random_boxes
from methods.worlds import TINY, random_views

from densecl.errors import UsageError
from densecl.losses import normalise
from densecl.methods import PixContrast
from densecl.pairs import Pairs, PointSet


def pixcontrast(**changes) -> PixContrast:
    torch.manual_seed(0)
    return PixContrast(TINY, **{"dim": 8, "hidden": 16, "max_steps": 10, **changes})


def cell_losses(scores: np.ndarray, mask: np.ndarray, temperature: float) -> list[float]:
    """Eq. 2, cell by cell, of one image: (n, m) cosines and pairs."""
    found = []
    for i in range(len(scores)):
        if not mask[i].any():
            continue
        positive = sum(math.exp(s / temperature) for s in scores[i][mask[i]])
        negative = sum(math.exp(s / temperature) for s in scores[i][~mask[i]])
        found.append(-math.log(positive / (positive + negative)))
    return found


def in_one_log(scores: np.ndarray, masks: np.ndarray, temperature: float) -> float:
    """The fault: all cells of all images pooled into one ratio, then one logarithm."""
    e = np.exp(scores / temperature)
    return float(-np.log((e * masks).sum() / e.sum()))


def cosines(queries: PointSet, keys: PointSet) -> np.ndarray:
    samples = queries.num_samples
    q, k = (p.fields["loss"].detach().double().numpy() for p in (queries, keys))
    return np.einsum("bid,bjd->bij", *(x.reshape(samples, -1, x.shape[1]) for x in (q, k)))


def case(method: PixContrast, count: int = 4):
    rng = np.random.default_rng(1)
    boxes = [random_boxes(rng, count), random_boxes(rng, count)]
    boxes[0][-1], boxes[1][-1] = (0, 0, 8, 8), (40, 40, 80, 60)
    views = [crop_views(b, seed=s, size=(48, 64), dtype=torch.float64) for s, b in enumerate(boxes)]
    masks = np.stack([pair_matrix(a, b, ((3, 4), (3, 4))) for a, b in zip(*boxes, strict=True)])
    return views, masks


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("temperature", [0.1, 0.3])
def test_loss_equals_a_float64_loop_over_cells(temperature, symmetric):
    method = pixcontrast(temperature=temperature, symmetric=symmetric).double().eval()
    views, masks = case(method)
    with torch.no_grad():
        found = float(method(views).losses["pixel"])
        directions = []
        for query, key in ((0, 1), (1, 0)) if symmetric else ((0, 1),):
            scores = cosines(method.ask(views[query]), method.answer(views[key]))
            per_cell = []
            for b, mask in enumerate(masks):
                per_cell += cell_losses(scores[b], mask if query == 0 else mask.T, temperature)
            directions.append(np.mean(per_cell))
    assert found == pytest.approx(np.mean(directions), rel=1e-10)


def test_one_logarithm_over_all_cells_is_another_loss():
    """The per-cell loss of every cell's own perfect match beats that of one cell for all."""
    method = pixcontrast(symmetric=False).double().eval()
    views, masks = case(method)
    with torch.no_grad():
        found = float(method(views).losses["pixel"])
        scores = cosines(method.ask(views[0]), method.answer(views[1]))
    per_cell = np.mean(
        [loss for s, m in zip(scores, masks, strict=True) for loss in cell_losses(s, m, 0.3)]
    )
    fault = in_one_log(scores, masks, 0.3)
    assert found == pytest.approx(per_cell, rel=1e-10)
    assert abs(found - fault) > 0.1


def points(rows: torch.Tensor, samples: int) -> PointSet:
    sample = torch.arange(samples).repeat_interleave(len(rows) // samples)
    return PointSet({"loss": normalise(rows)}, sample, num_samples=samples)


def test_keys_of_other_images_are_no_negatives():
    method = pixcontrast(symmetric=False)
    torch.manual_seed(0)
    query, key = torch.randn(8, 5), torch.randn(8, 5)
    pairs = Pairs(torch.arange(4), torch.tensor([0, 1, 1, 3]), num_src=8, num_dst=8)
    loss = method.losses([points(query, 2)], [points(key, 2)], (pairs, pairs.swap()))["pixel"]
    key[4:] = torch.randn(4, 5)
    again = method.losses([points(query, 2)], [points(key, 2)], (pairs, pairs.swap()))["pixel"]
    assert torch.equal(loss, again)
    key[2] = -key[2]
    other = method.losses([points(query, 2)], [points(key, 2)], (pairs, pairs.swap()))["pixel"]
    assert not torch.equal(loss, other)


@pytest.mark.parametrize("temperature", [0.1, 0.3])
def test_negatives_of_other_images_equal_a_float64_loop(temperature):
    method = pixcontrast(temperature=temperature, negatives="others", symmetric=False)
    method = method.double().eval()
    views, masks = case(method)
    with torch.no_grad():
        found = float(method(views).losses["pixel"])
        queries, keys = method.ask(views[0]), method.answer(views[1])
    count, cells = masks.shape[0], masks.shape[1]
    query, key = (p.fields["loss"].numpy().reshape(count, cells, -1) for p in (queries, keys))
    losses = []
    for b in range(count):
        for i in np.flatnonzero(masks[b].any(1)):
            positive = sum(
                math.exp(query[b, i] @ key[b, j] / temperature) for j in np.flatnonzero(masks[b, i])
            )
            negative = sum(
                math.exp(query[b, i] @ key[other, j] / temperature)
                for other in range(count)
                for j in range(cells)
                if other != b
            )
            losses.append(-math.log(positive / (positive + negative)))
    assert found == pytest.approx(np.mean(losses), rel=1e-10)


def test_other_cells_of_the_own_image_are_then_no_negatives():
    method = pixcontrast(symmetric=False, negatives="others")
    torch.manual_seed(0)
    query, key = torch.randn(8, 5), torch.randn(8, 5)
    pairs = Pairs(torch.tensor([0, 1]), torch.tensor([0, 1]), num_src=8, num_dst=8)

    def loss():
        both = (pairs, pairs.swap())
        return method.losses([points(query, 2)], [points(key, 2)], both)["pixel"]

    first = loss()
    key[2:4] = torch.randn(2, 5)
    assert torch.equal(loss(), first)
    key[6] = -key[6]
    assert not torch.equal(loss(), first)


def test_equal_cells_give_the_log_of_their_number():
    method = pixcontrast(symmetric=False)
    rows = points(torch.ones(9, 5), 1)
    one = Pairs.identity(9)
    loss = method.losses([rows], [rows], (one, one))["pixel"]
    assert float(loss) == pytest.approx(math.log(9), rel=1e-5)
    three = Pairs(torch.tensor([4, 4, 4]), torch.tensor([0, 4, 8]), num_src=9, num_dst=9)
    loss = method.losses([rows], [rows], (three, three))["pixel"]
    assert float(loss) == pytest.approx(math.log(3), rel=1e-5)


@pytest.mark.parametrize("negatives", ["own", "others"])
def test_gradient_equals_differences(negatives):
    method = pixcontrast(symmetric=False, negatives=negatives)
    torch.manual_seed(0)
    query = torch.randn(8, 3, dtype=torch.float64, requires_grad=True)
    key = torch.randn(8, 3, dtype=torch.float64)
    pairs = Pairs(torch.tensor([0, 0, 2, 5]), torch.tensor([1, 2, 2, 7]), num_src=8, num_dst=8)

    def loss(query):
        return method.losses([points(query, 2)], [points(key, 2)], (pairs, pairs))["pixel"]

    assert torch.autograd.gradcheck(loss, (query,))


def test_a_single_cell_has_no_negatives_and_loss_zero():
    method = pixcontrast()
    views = [crop_views([(0.0, 0, 60, 60)] * 3, size=(16, 16), seed=s) for s in (1, 2)]
    output = method(views)
    assert len(output.pairs) == 3
    assert float(output.losses["pixel"].detach()) == 0.0
    output.losses["pixel"].backward()


def test_the_pairs_are_those_of_the_mask():
    method = pixcontrast().double().eval()
    views, masks = case(method)
    np.testing.assert_array_equal(dense_matrix(method(views).pairs, 4), masks)


def test_the_untrained_loss_lies_between_zero_and_the_number_of_cells():
    loss = float(pixcontrast()(random_views(4, size=64)).losses["pixel"].detach())
    assert 0 < loss < math.log(16) + 2 / 0.3


def test_zero_temperature_is_refused_with_the_field_named():
    with pytest.raises(UsageError, match=r"method\.temperature"):
        pixcontrast(temperature=0.0)


def test_unknown_negatives_are_refused_with_the_field_named():
    with pytest.raises(UsageError, match=r"method\.negatives = 'all'"):
        pixcontrast(negatives="all")
