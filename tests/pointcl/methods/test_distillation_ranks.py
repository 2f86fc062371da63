"""Distillation on two processes makes the gradient of one, where keys are gathered."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from several import on_ranks

sys.path.insert(0, str(Path(__file__).parents[1]))

from camera_worlds import batch_of, build

from densecl.distributed import is_distributed, rank
from pointcl.methods import PPKT, SLidR
from pointcl.methods.base import PointMethod


@dataclass(frozen=True)
class Case:
    """Method, its options, scans of the first process, whether those have no links."""

    method: type[PointMethod]
    options: tuple[tuple[str, object], ...] = ()
    first: int = 2
    blind: bool = False


CASES = {
    "slidr": Case(SLidR, first=1),
    "slidr, both ways, tolerant": Case(SLidR, (("symmetric", True), ("tolerant", True)), first=2),
    "slidr, a process without links": Case(SLidR, (("symmetric", True),), first=1, blind=True),
    "ppkt": Case(PPKT, (("max_pairs", 10**6),), first=1),
    "ppkt, a process without links": Case(PPKT, (("max_pairs", 10**6),), first=1, blind=True),
}


def batch_for(indices, blind):
    batch = batch_of(indices, double=True)
    if blind and 0 in indices:
        links = batch.pictures.links
        seen = links.filter(links.scan[links.image] != indices.index(0))
        batch = replace(batch, pictures=replace(batch.pictures, links=seen))
    return batch


def losses_and_gradients(case, **options):
    backbone = {"type": "MinkUNet", "depth": 14, "width": 4, "in_channels": 1, "norm": "in"}
    method = build(case.method, backbone=backbone, **dict(case.options), **options).double()
    shares = [list(range(case.first)), list(range(case.first, 3))]
    mine = shares[rank()] if is_distributed() else list(range(3))
    output = method(batch_for(mine, case.blind))
    loss = torch.stack(list(output.losses.values())).sum()
    loss.backward()
    gradients = {}
    for name, parameter in method.named_parameters():
        gradients[name] = parameter.grad.clone()
        if is_distributed():
            dist.all_reduce(gradients[name])
            gradients[name] /= dist.get_world_size()
    return loss.detach(), gradients, len(output.pairs)


def work(cases):
    return {name: losses_and_gradients(case) for name, case in cases.items()}


def work_apart(case):
    return losses_and_gradients(case, gather_keys=False)


@pytest.fixture(scope="module")
def ranks():
    return on_ranks(work, CASES)


@pytest.mark.parametrize("name", CASES)
def test_two_processes_make_the_gradient_of_one(ranks, name):
    loss, gradients, count = losses_and_gradients(CASES[name])
    assert sum(found[name][2] for found in ranks) == count > 20
    assert not CASES[name].blind or ranks[0][name][2] == 0
    # float64; sums in another order, amplified by norms of small variance.
    mean = sum(found[name][0] for found in ranks) / 2
    torch.testing.assert_close(mean, loss, rtol=1e-8, atol=1e-10)
    assert max(g.abs().max() for g in gradients.values()) > 1e-4
    for found in ranks:
        torch.testing.assert_close(found[name][1], gradients, rtol=1e-6, atol=1e-9)


def test_without_gathering_each_process_has_fewer_negatives():
    whole = losses_and_gradients(CASES["slidr"])[0]
    apart = on_ranks(work_apart, CASES["slidr"])
    assert sum(found[0] for found in apart) / 2 < whole - 0.05
