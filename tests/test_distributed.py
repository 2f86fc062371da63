"""Two processes against one. Run as a script, this file is one of the two processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

import densecl
from densecl.distributed import (
    all_reduce_sum,
    gather_rows,
    is_distributed,
    mean_over_ranks,
    rank,
    row_counts,
    world_size,
)
from densecl.losses import info_nce, normalise

COUNTS = {"uneven": (3, 6), "one empty": (0, 5), "even": (4, 4), "all empty": (0, 0)}


def batch(count):
    draw = torch.Generator().manual_seed(count)
    return torch.randn(2, count, 5, dtype=torch.float64, generator=draw)


def shard(rows, counts, r):
    return rows[:, sum(counts[:r]) : sum(counts[: r + 1])]


def loss_and_gradient(rows):
    """InfoNCE with every rank's keys as negatives: the loss of this rank, d loss / d weight."""
    draw = torch.Generator().manual_seed(99)
    weight = torch.randn(5, 4, dtype=torch.float64, generator=draw).requires_grad_()
    query, key = (normalise(view @ weight) for view in rows)
    bank = gather_rows(key, gradient=True)
    start = sum(row_counts(key)[: rank()])
    total, count = info_nce(
        query,
        key,
        bank,
        reduction="parts",
        block=2,
        allowed=lambda i, j: i[:, None] + start != j[None],
    )
    loss = mean_over_ranks(total, count)
    loss.backward()
    return loss.detach(), weight.grad


def work(r, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=r, world_size=2)
    found = {"rank": rank(), "world": world_size(), "sum": all_reduce_sum(torch.tensor([r + 1.0]))}
    for name, counts in COUNTS.items():
        rows = shard(batch(sum(counts)), counts, r)
        plain = gather_rows(rows[0].clone().requires_grad_())
        leaf = rows[0].clone().requires_grad_()
        # Each rank asks for its own multiple of the gathered rows.
        ((r + 1) * gather_rows(leaf, gradient=True)).sum().backward()
        loss, grad = loss_and_gradient(rows)
        found[name] = {
            "gathered": plain.detach(),
            "detached": not plain.requires_grad,
            "ids": gather_rows(torch.arange(counts[r]) + 100 * r),
            "leaf": leaf.grad,
            "loss": loss,
            "grad": grad,
        }
    torch.save(found, f"{folder}/{r}.pth")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What each of two processes found."""
    folder = tmp_path_factory.mktemp("ranks")
    root = str(Path(densecl.__file__).parents[1])
    env = os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen(
            [sys.executable, __file__, str(r), str(folder)],
            env=env,
            stderr=subprocess.PIPE,
            text=True,
        )
        for r in range(2)
    ]
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    return [torch.load(folder / f"{r}.pth", weights_only=True) for r in range(2)]


def test_each_process_knows_its_place(ranks):
    assert [(f["rank"], f["world"], f["sum"].item()) for f in ranks] == [(0, 2, 3.0), (1, 2, 3.0)]


@pytest.mark.parametrize("name", COUNTS)
def test_gathered_rows_are_those_of_all_ranks_in_order(ranks, name):
    counts = COUNTS[name]
    ids = [100 * r + i for r in range(2) for i in range(counts[r])]
    for found in ranks:
        assert torch.equal(found[name]["gathered"], batch(sum(counts))[0])
        assert found[name]["ids"].tolist() == ids
        assert found[name]["detached"]


@pytest.mark.parametrize("name", COUNTS)
def test_a_gathered_row_receives_what_every_rank_asks_of_it(ranks, name):
    for found in ranks:
        assert torch.equal(found[name]["leaf"], torch.full_like(found[name]["leaf"], 3.0))


@pytest.mark.parametrize("name", COUNTS)
def test_two_processes_with_uneven_rows_give_the_gradient_of_one(ranks, name):
    loss, grad = loss_and_gradient(batch(sum(COUNTS[name])))
    # DistributedDataParallel averages; the loss of the whole is the average too.
    both = sum(found[name]["grad"] for found in ranks) / 2
    assert torch.allclose(both, grad, rtol=1e-10, atol=1e-14)
    mean = sum(found[name]["loss"] for found in ranks) / 2
    assert mean.item() == pytest.approx(loss.item(), rel=1e-12)


def test_alone_everything_is_the_identity():
    rows = batch(4)[0].requires_grad_()
    assert not is_distributed()
    assert (rank(), world_size()) == (0, 1)
    assert gather_rows(rows, gradient=True) is rows
    assert not gather_rows(rows).requires_grad
    assert row_counts(rows) == [4]
    assert all_reduce_sum(rows).tolist() == rows.tolist()


def test_alone_the_mean_is_sum_over_weight_and_zero_without_weight():
    total = torch.tensor(6.0, requires_grad=True)
    assert mean_over_ranks(total, torch.tensor(4.0)).item() == 1.5
    nothing = mean_over_ranks(total * 0, torch.tensor(0.0))
    nothing.backward()
    assert nothing.item() == 0.0


if __name__ == "__main__":
    work(int(sys.argv[1]), sys.argv[2])
