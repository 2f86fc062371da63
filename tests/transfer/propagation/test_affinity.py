from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from densecl.transfer.propagation.affinity import Neighbourhood, carry_labels, first_largest

EVERYWHERE = Neighbourhood("all")


def unit(*shape, seed=0):
    rows = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(rows, dim=-1)


def by_loops(query, keys, labels, top_k, temperature, neighbourhood):
    """One cell after the other in float64: sort all allowed cells, average the best."""
    query, keys, labels = (x.double().numpy() for x in (query, keys, labels))
    frames, h, w = keys.shape[:3]
    out = np.zeros((h, w, labels.shape[-1]))
    for i, j in itertools.product(range(h), range(w)):
        found = []
        for f, y, x in itertools.product(range(frames), range(h), range(w)):
            dy, dx = y - i, x - j
            near = {
                "circle": math.sqrt(dy * dy + dx * dx) < neighbourhood.radius,
                "square": max(abs(dy), abs(dx)) <= neighbourhood.radius,
                "all": True,
            }[neighbourhood.shape]
            if near:
                found.append((-float(query[i, j] @ keys[f, y, x]), (f, y, x)))
        best = sorted(found)[:top_k]
        largest = -best[0][0]
        weights = np.array([math.exp((-minus - largest) / temperature) for minus, _ in best])
        weights /= weights.sum()
        out[i, j] = sum(weight * labels[at] for weight, (_, at) in zip(weights, best, strict=True))
    return out


@pytest.mark.parametrize(
    "neighbourhood",
    [
        Neighbourhood("circle", 2.0),
        Neighbourhood("circle", 2.3),
        Neighbourhood("square", 1.0),
        Neighbourhood("square", 2.0),
        EVERYWHERE,
    ],
    ids=str,
)
@pytest.mark.parametrize("top_k", [1, 4, 1000])
@pytest.mark.parametrize("tile", [2, 3, 64])
def test_every_tile_agrees_with_loops(neighbourhood, top_k, tile):
    query, keys = unit(5, 7, 4), unit(3, 5, 7, 4, seed=1)
    labels = torch.rand(3, 5, 7, 3, generator=torch.Generator().manual_seed(2))
    settings = {"top_k": top_k, "temperature": 0.2, "neighbourhood": neighbourhood}
    expected = by_loops(query, keys, labels, **settings)
    found = carry_labels(query, keys, labels, tile=tile, **settings)
    # float32 products against float64; no two similarities of random vectors are that close
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-6)


def test_equal_cells_give_the_first_of_the_neighbourhood_whatever_the_tile():
    query, keys = torch.zeros(4, 6, 2), torch.zeros(2, 4, 6, 2)
    query[..., 0] = keys[..., 0] = 1
    labels = torch.rand(2, 4, 6, 1)
    settings = {"top_k": 3, "temperature": 0.1, "neighbourhood": Neighbourhood("circle", 2.0)}
    expected = by_loops(query, keys, labels, **settings)
    for tile in (1, 2, 5, 8):
        found = carry_labels(query, keys, labels, tile=tile, **settings)
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


def test_strict_circle_of_one_is_the_own_cell_and_of_two_the_block_around_it():
    impulse = torch.zeros(1, 5, 5, 1)
    impulse[0, 2, 2] = 1
    same = torch.ones(5, 5, 1)
    settings = {"top_k": 100, "temperature": 1.0}

    def reached(neighbourhood):
        found = carry_labels(same, same[None], impulse, neighbourhood=neighbourhood, **settings)
        return (found[..., 0] > 0).int().tolist()

    cross, block = np.zeros((5, 5), int), np.zeros((5, 5), int)
    cross[2, 2] = 1
    block[1:4, 1:4] = 1
    assert reached(Neighbourhood("circle", 1.0)) == cross.tolist()
    assert reached(Neighbourhood("circle", 2.0)) == block.tolist()
    assert reached(Neighbourhood("square", 1.0)) == block.tolist()
    assert reached(EVERYWHERE) == np.ones((5, 5), int).tolist()


def test_all_keys_and_many_of_them_are_the_dense_softmax():
    query, keys, labels = unit(3, 4, 5), unit(2, 3, 4, 5, seed=1), torch.rand(2, 3, 4, 2)
    scores = query.reshape(12, 5) @ keys.reshape(24, 5).T / 0.3
    dense = torch.softmax(scores, 1) @ labels.reshape(24, 2)
    for top_k in (24, 500):
        found = carry_labels(
            query, keys, labels, top_k=top_k, temperature=0.3, neighbourhood=EVERYWHERE
        )
        torch.testing.assert_close(found.reshape(12, 2), dense)


def test_a_cold_softmax_takes_the_label_of_the_nearest_cell():
    query, keys, labels = unit(3, 4, 5), unit(2, 3, 4, 5, seed=1), torch.rand(2, 3, 4, 2)
    nearest = (query.reshape(12, 5) @ keys.reshape(24, 5).T).argmax(1)
    settings = {"temperature": 1e-4, "neighbourhood": EVERYWHERE}
    found = carry_labels(query, keys, labels, top_k=10, **settings)
    torch.testing.assert_close(found.reshape(12, 2), labels.reshape(24, 2)[nearest])


def test_soft_labels_stay_a_distribution():
    labels = torch.softmax(torch.randn(2, 6, 5, 3), -1)
    settings = {"top_k": 4, "temperature": 0.07, "neighbourhood": Neighbourhood("circle", 1.5)}
    found = carry_labels(unit(6, 5, 4), unit(2, 6, 5, 4, seed=3), labels, **settings)
    torch.testing.assert_close(found.sum(-1), torch.ones(6, 5))


def test_one_cell_is_a_map_too():
    one = torch.ones(1, 1, 1)
    found = carry_labels(
        one, one[None], one[None] * 0.5, top_k=3, temperature=1.0, neighbourhood=Neighbourhood()
    )
    assert found.tolist() == [[[0.5]]]


def test_first_largest_is_a_stable_sort():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(0, 4, (50, 30), generator=generator).float()
    scores[:, 20:] = -torch.inf
    for k in (1, 7, 22, 30):
        values, index = first_largest(scores, k)
        expected = torch.sort(scores, dim=1, descending=True, stable=True)
        torch.testing.assert_close(values.sort(1, descending=True).values, expected.values[:, :k])
        assert torch.equal(index.sort(1).values, expected.indices[:, :k].sort(1).values)
        torch.testing.assert_close(scores.gather(1, index), values)


@pytest.mark.parametrize("radius", [0.5, 0.0, -1.0, math.inf, math.nan])
def test_a_circle_without_the_own_cell_is_refused(radius):
    with pytest.raises(ValueError, match="radius"):
        Neighbourhood("circle", radius)


def test_what_does_not_fit_is_refused():
    query, keys, labels = unit(3, 4, 5), unit(2, 3, 4, 5), torch.rand(2, 3, 4, 2)
    settings = {"top_k": 1, "temperature": 1.0, "neighbourhood": EVERYWHERE}
    with pytest.raises(ValueError, match="query"):
        carry_labels(query, keys[:, :, :3], labels, **settings)
    with pytest.raises(ValueError, match="labels"):
        carry_labels(query, keys, labels[:1], **settings)
    with pytest.raises(ValueError, match="keys"):
        carry_labels(query, keys[:0], labels[:0], **settings)
    with pytest.raises(ValueError, match="top_k"):
        carry_labels(query, keys, labels, **{**settings, "top_k": 0})
    with pytest.raises(ValueError, match="temperature"):
        carry_labels(query, keys, labels, **{**settings, "temperature": 0.0})
    with pytest.raises(ValueError, match="shape"):
        Neighbourhood("disc")
