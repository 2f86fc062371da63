"""PointContrast on two processes makes the gradient of one."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from several import on_ranks

sys.path.insert(0, str(Path(__file__).parents[1]))

from point_worlds import UNET, Rooms

from densecl.distributed import is_distributed, rank
from densecl.models.cross_process_norm import convert_cross_process_batchnorm
from pointcl.methods import PointContrast
from pointcl.sparse import VoxelGrid
from pointcl.views import CloudViewGenerator, Voxeliser, VoxelViews


@dataclass(frozen=True)
class Case:
    """Options of the method, norm of its layers, scans of either process, a scan without pairs."""

    options: tuple[tuple[str, object], ...]
    norm: str = "in"
    first: int = 2
    apart: bool = False


EVERYTHING = (("max_pairs", 10**6), ("candidates", 10**6), ("radius_metres", 0.03))
CASES = {
    "info_nce": Case(EVERYTHING),
    "info_nce, uneven, spared": Case((*EVERYTHING, ("spare", 0.8)), first=1),
    "info_nce, cross-process norm": Case(EVERYTHING, norm="sync", first=3),
    "info_nce, a process without pairs": Case(EVERYTHING, first=1, apart=True),
    "hardest": Case((*EVERYTHING, ("loss", "hardest")), first=1),
    "hardest, a process without pairs": Case(
        (*EVERYTHING, ("loss", "hardest"), ("spare", 0.5)), norm="sync", first=1, apart=True
    ),
}


def batch_of(indices, apart):
    views = VoxelViews(CloudViewGenerator("pointcontrast"), Voxeliser(VoxelGrid(0.5)))
    dataset = Rooms(4, count=250)
    batch = views.collate([views(dataset[i], 0) for i in indices])
    if apart and 0 in indices:
        batch.views[1].cloud.geometry.matrix[indices.index(0), :, 3] += 100.0
    for view in batch.views:
        tensor = view.voxels.tensor
        view.voxels = replace(view.voxels, tensor=tensor.with_features(tensor.features.double()))
    return batch


def losses_and_gradients(case):
    torch.manual_seed(0)
    backbone = {**UNET, "norm": "bn" if case.norm == "sync" else case.norm}
    method = PointContrast(backbone, dim=6, **dict(case.options)).double()
    if case.norm == "sync":
        convert_cross_process_batchnorm(method)
    shares = [list(range(case.first)), list(range(case.first, 4))]
    mine = shares[rank()] if is_distributed() else list(range(4))
    output = method(batch_of(mine, case.apart))
    loss = torch.stack(list(output.losses.values())).sum()
    loss.backward()
    gradients = {}
    for name, parameter in method.named_parameters():
        gradients[name] = parameter.grad.clone()
        if is_distributed():
            dist.all_reduce(gradients[name])
            gradients[name] /= dist.get_world_size()
    most = int(output.pairs.per_row().max()) if len(output.pairs) else 0
    return loss.detach(), gradients, len(output.pairs), most


def work(cases):
    return {name: losses_and_gradients(case) for name, case in cases.items()}


@pytest.fixture(scope="module")
def ranks():
    return on_ranks(work, CASES)


@pytest.mark.parametrize("name", CASES)
def test_two_processes_make_the_gradient_of_one(ranks, name):
    loss, gradients, count, most = losses_and_gradients(CASES[name])
    assert most == 1, "a random choice of partners would differ between processes"
    assert sum(found[name][2] for found in ranks) == count > 40
    if CASES[name].apart:
        assert ranks[0][name][2] == 0
    # float64; sums in another order, amplified by norms of small variance.
    mean = sum(found[name][0] for found in ranks) / 2
    torch.testing.assert_close(mean, loss, rtol=1e-8, atol=1e-10)
    assert max(g.abs().max() for g in gradients.values()) > 1e-4
    for found in ranks:
        torch.testing.assert_close(found[name][1], gradients, rtol=1e-6, atol=1e-9)
