import pytest
import torch

from densecl.losses.partition import log_partition, tile_shape


def parts(p, k, seed=0):
    draw = torch.Generator().manual_seed(seed)
    query = torch.randn(p, 5, dtype=torch.float64, generator=draw)
    keys = torch.randn(k, 5, dtype=torch.float64, generator=draw)
    return query, keys, {"query_rows": torch.arange(p), "key_rows": torch.arange(k)}


@pytest.mark.parametrize("block", [1, 2, 3, 50, "auto"])
@pytest.mark.parametrize("growing", [True, False])
def test_the_running_maximum_may_rise_or_fall_from_tile_to_tile(block, growing):
    query, keys, rows = parts(6, 40)
    keys = keys[(keys @ query[0]).argsort(descending=not growing)] * 50
    got = log_partition(query, keys, temperature=0.1, block=block, **rows)
    assert torch.allclose(got, torch.logsumexp(query @ keys.T / 0.1, 1), rtol=1e-12)


@pytest.mark.parametrize("block", [1, 2, None])
def test_first_tiles_without_an_allowed_key_leave_no_trace(block):
    query, keys, rows = parts(4, 30)
    query.requires_grad_()
    got = log_partition(
        query,
        keys,
        temperature=1.0,
        block=block,
        allowed=lambda i, j: (j >= 25).expand(len(i), -1),
        **rows,
    )
    expected = torch.logsumexp(query @ keys[25:].T, 1)
    assert torch.allclose(got, expected, rtol=1e-12)
    (grad,) = torch.autograd.grad(got.sum(), query)
    (wanted,) = torch.autograd.grad(expected.sum(), query)
    assert torch.allclose(grad, wanted, rtol=1e-12)


@pytest.mark.parametrize("block", [None, 1, "auto"])
def test_a_query_without_keys_is_minus_infinity_and_passes_no_gradient(block):
    query, keys, rows = parts(3, 4)
    query.requires_grad_()
    keys.requires_grad_()
    got = log_partition(
        query,
        keys,
        temperature=1.0,
        block=block,
        allowed=lambda i, j: (i[:, None] != 1) & (j >= 0),
        **rows,
    )
    assert torch.isneginf(got).tolist() == [False, True, False]
    got[[0, 2]].sum().backward()
    assert query.grad[1].tolist() == [0.0] * 5
    assert torch.isfinite(keys.grad).all()


def test_the_rule_is_asked_for_tiles_only():
    query, keys, rows = parts(10, 50)
    asked = []

    def rule(i, j):
        asked.append((len(i), len(j)))
        return torch.ones(len(i), len(j), dtype=torch.bool)

    log_partition(query, keys, temperature=1.0, block=3, allowed=rule, **rows)
    assert max(i for i, _ in asked) == 3
    assert max(j for _, j in asked) == 12
    assert sum(i * j for i, j in asked) == 500


def test_a_tile_keeps_its_area_when_queries_are_few():
    assert tile_shape(10_000, "auto") == (256, 1024)
    assert tile_shape(32, "auto") == (32, 8192)
    assert tile_shape(0, "auto")[0] == 1
    assert tile_shape(100, 8) == (8, 32)
