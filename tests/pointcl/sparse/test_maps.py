from __future__ import annotations

import pytest
import torch

from densecl.errors import UsageError
from pointcl.sparse import CoordinateSet, Kernel, maps
from pointcl.sparse.keys import HIGHEST, LOWEST
from pointcl.sparse.maps import build_kernel_map


def loop(fine: CoordinateSet, coarse: CoordinateSet, kernel: Kernel) -> set[tuple[int, int, int]]:
    """(k, row of fine, row of coarse) by looking up a dictionary."""
    place = {tuple(c): row for row, c in enumerate(fine.coordinates.tolist())}
    found = set()
    for row, (b, *xyz) in enumerate(coarse.coordinates.tolist()):
        for k, offset in enumerate(kernel.offsets):
            steps = zip(xyz, offset, fine.stride, strict=True)
            other = place.get((b, *[c + o * s for c, o, s in steps]))
            if other is not None:
                found.add((k, other, row))
    return found


def listed(kernel_map) -> list[tuple[int, int, int]]:
    rows = [
        (k, i, j)
        for k, src, dst in kernel_map.offsets()
        for i, j in zip(src.tolist(), dst.tolist(), strict=True)
    ]
    if kernel_map.identity is not None:
        rows += [(kernel_map.identity, i, i) for i in range(kernel_map.num_src)]
    return rows


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, (3, 1, 2), (1, 1, 7)])
@pytest.mark.parametrize("dilation", [1, 2, (1, 3, 2)])
@pytest.mark.parametrize(("stride", "factor"), [(1, 1), (1, 2), (2, 1), ((1, 2, 3), (3, 1, 2))])
def test_every_pair_is_found_once(make_tensor, size, dilation, stride, factor):
    x = make_tensor(counts=(60, 0, 30), extent=5, stride=stride)
    coarse = x.context.strided(x.sites, factor)
    kernel = Kernel.of(size, dilation)
    kernel_map = build_kernel_map(x.sites, coarse, kernel)
    rows = listed(kernel_map)
    assert len(rows) == len(set(rows)) == len(kernel_map)
    assert set(rows) == loop(x.sites, coarse, kernel)
    swapped = kernel_map.swapped
    assert {(k, j, i) for k, i, j in listed(swapped)} == set(rows)
    assert (swapped.num_src, swapped.num_dst) == (len(coarse), len(x))


def test_a_padded_kernel_finds_what_the_loop_finds(make_tensor):
    x = make_tensor(counts=(60,), extent=5)
    coarse = x.context.strided(x.sites, 2)
    for padding in (0, 1, (0, 1, 2)):
        kernel = Kernel.of(3, 1, padding)
        kernel_map = build_kernel_map(x.sites, coarse, kernel)
        assert set(listed(kernel_map)) == loop(x.sites, coarse, kernel)
        kernel_map = build_kernel_map(x.sites, x.sites, kernel)
        assert set(listed(kernel_map)) == loop(x.sites, x.sites, kernel)


def test_neighbours_do_not_reach_into_another_sample_or_column():
    # the last voxel of one sample and column, and the first of the next
    coordinates = torch.tensor([[0, 0, 0, 5], [0, 0, 1, -5], [1, 0, 0, -5]], dtype=torch.int32)
    sites = CoordinateSet.build(coordinates)
    kernel_map = build_kernel_map(sites, sites, Kernel.of(3))
    assert len(kernel_map) == 3


def test_a_kernel_that_reaches_over_the_edge_of_the_range_is_refused():
    for value in (LOWEST, HIGHEST):
        sites = CoordinateSet.build(torch.tensor([[0, 0, value, 0]], dtype=torch.int32))
        assert len(build_kernel_map(sites, sites, Kernel.of((3, 1, 3)))) == 1
        with pytest.raises(UsageError, match="axis y out of the keys' range"):
            build_kernel_map(sites, sites, Kernel.of(3))


def test_a_set_without_voxels_has_an_empty_map(make_tensor):
    x = make_tensor(counts=(0, 0))
    coarse = x.context.strided(x.sites, 2)
    kernel_map = build_kernel_map(x.sites, coarse, Kernel.of(3))
    assert len(kernel_map) == 0
    assert kernel_map.counts == (0,) * 27


@pytest.mark.parametrize("size", [2, 3, (3, 1, 2)])
@pytest.mark.parametrize("dilation", [1, (1, 3, 2)])
@pytest.mark.parametrize("factor", [1, 2])
def test_both_ways_of_searching_find_the_same_pairs(
    make_tensor, size, dilation, factor, monkeypatch
):
    """Arrays on the CPU, tensors elsewhere; here both run on the CPU."""
    x = make_tensor(counts=(60, 0, 30), extent=5)
    coarse, kernel = x.context.strided(x.sites, factor), Kernel.of(size, dilation)
    arrays = build_kernel_map(x.sites, coarse, kernel)
    monkeypatch.setattr(maps, "_on_arrays", lambda keys: False)
    tensors = build_kernel_map(x.sites, coarse, kernel)
    assert len(arrays) > 40
    assert arrays.counts == tensors.counts
    assert torch.equal(arrays.src, tensors.src)
    assert torch.equal(arrays.dst, tensors.dst)
