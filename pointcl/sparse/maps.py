"""Kernel maps: which voxel meets which under each offset of a kernel."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from densecl.errors import UsageError
from pointcl.sparse.coordinates import CoordinateSet
from pointcl.sparse.kernel import Kernel, Triple
from pointcl.sparse.keys import HIGHEST, LOWEST, offset_key

Rows = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Origin:
    """What a kernel map was built from."""

    fine: CoordinateSet
    coarse: CoordinateSet
    kernel: Kernel


@dataclass(eq=False)
class KernelMap:
    """Pairs of rows, grouped by offset: ``out[dst] += in[src] @ weight[k]``.

    Within one offset every row stands at most once on either side.

    Attributes:
        src: (P,) int64 rows that are read.
        dst: (P,) int64 rows that are written.
        counts: pairs of each offset k; those of k follow those of k - 1.
        num_src: rows before.
        num_dst: rows after.
        identity: the offset that pairs every row with itself, if any; its pairs are not listed
            and its count is 0, because it is a dense product.
        mirrored: whether the pairs of offset ``volume - 1 - k`` are those of k, swapped.
        transposed: whether src are rows of the coarser set.
        origin: sets and kernel behind the pairs; None for a map made by hand.
    """

    src: Tensor
    dst: Tensor
    counts: tuple[int, ...]
    num_src: int
    num_dst: int
    identity: int | None = None
    mirrored: bool = False
    transposed: bool = False
    origin: Origin | None = field(default=None, repr=False)
    _plans: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        """Number of pairs, the identity's included."""
        return self.src.shape[0] + (0 if self.identity is None else self.num_src)

    @property
    def volume(self) -> int:
        """Number of offsets."""
        return len(self.counts)

    @property
    def swapped(self) -> KernelMap:
        """The map of the transposed convolution: the same pairs, read the other way."""
        return KernelMap(
            src=self.dst,
            dst=self.src,
            counts=self.counts,
            num_src=self.num_dst,
            num_dst=self.num_src,
            identity=self.identity,
            mirrored=self.mirrored,
            transposed=not self.transposed,
            origin=self.origin,
            _plans=self._plans,
        )

    def plan(self, name: Hashable, make: Callable[[KernelMap], Any]) -> Any:
        """What a backend prepares from the pairs in this direction, made once.

        Args:
            name: of the preparation; both directions share the store.
            make: called with this map where nothing is stored yet.
        """
        key = (name, self.transposed)
        if key not in self._plans:
            self._plans[key] = make(self)
        return self._plans[key]

    def offsets(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        """(k, src, dst) of each offset that lists pairs; not the identity."""
        start = 0
        for k, count in enumerate(self.counts):
            if count:
                yield k, self.src[start : start + count], self.dst[start : start + count]
            start += count

    def all_pairs(self) -> Rows:
        """src and dst of every pair, the identity's first."""
        if self.identity is None:
            return self.src, self.dst
        rows = torch.arange(self.num_src, device=self.src.device)
        return torch.cat([rows, self.src]), torch.cat([rows, self.dst])


def build_kernel_map(fine: CoordinateSet, coarse: CoordinateSet, kernel: Kernel) -> KernelMap:
    """Pairs (row of fine, row of coarse) with ``fine = coarse + offset_k * fine.stride``.

    Args:
        fine: the set that is read.
        coarse: the set that is written; the same object for a submanifold convolution.
        kernel: size, dilation and padding in units of ``fine.stride``.

    Raises:
        UsageError: the kernel reaches beyond the range of the keys.
    """
    _check_reach(fine, coarse, kernel)
    same = fine is coarse
    identity = kernel.centre if same else None
    found: list[Rows | None] = [None] * kernel.volume
    mirrored = same and kernel.symmetric
    for k, rows in _column_hits(fine, coarse, kernel, half=mirrored):
        if k != identity:
            found[k] = rows
            if mirrored:
                found[kernel.volume - 1 - k] = rows[1], rows[0]
    kept = [rows for rows in found if rows is not None]
    none = torch.zeros(0, dtype=torch.int64, device=fine.device)
    src = torch.cat([rows[0] for rows in kept]) if kept else none
    dst = torch.cat([rows[1] for rows in kept]) if kept else none
    return KernelMap(
        src if fine.order is None else fine.order[src],
        dst if coarse.order is None else coarse.order[dst],
        tuple(0 if rows is None else len(rows[0]) for rows in found),
        len(fine),
        len(coarse),
        identity,
        mirrored,
        origin=Origin(fine, coarse, kernel),
    )


def _column_hits(
    fine: CoordinateSet, coarse: CoordinateSet, kernel: Kernel, *, half: bool
) -> Iterator[tuple[int, Rows]]:
    """Places in both sorted lists that meet under offset k, for all k or for one of each +-k."""
    columns = kernel.size[0] * kernel.size[1]
    depth = kernel.size[2]
    # A voxel of the column is the next entry of the sorted list, unless dilation skips some.
    contiguous = kernel.dilation[2] == 1
    end = torch.iinfo(torch.int64).max
    keys: Any = torch.cat([fine.sorted_keys, fine.sorted_keys.new_tensor([end])])
    wanted: Any = coarse.sorted_keys
    search: Callable[..., Any] = torch.searchsorted
    places: Callable[..., Any] = _places
    arrays = _on_arrays(keys)
    if arrays:
        keys, wanted, search, places = keys.numpy(), wanted.numpy(), np.searchsorted, np.flatnonzero
    for column in range(columns // 2 + 1 if half else columns):
        place: Any = None
        for level in range(depth // 2 if half and column == columns // 2 else depth):
            k = column + columns * level
            target = wanted + offset_key(_scaled(kernel.offsets[k], fine.stride))
            if place is None or not contiguous:
                place = search(keys, target)
            hit = keys[place] == target
            dst = places(hit)
            rows = place[dst], dst
            yield k, (torch.from_numpy(rows[0]), torch.from_numpy(rows[1])) if arrays else rows
            if contiguous:
                place = place + hit


def _on_arrays(keys: Tensor) -> bool:
    """On the CPU numpy is faster: it starts each search where that of the key before ended."""
    return keys.device.type == "cpu"


def _places(mask: Tensor) -> Tensor:
    return mask.nonzero().squeeze(1)


def _scaled(offset: Triple, stride: Triple) -> Triple:
    return (offset[0] * stride[0], offset[1] * stride[1], offset[2] * stride[2])


def _check_reach(fine: CoordinateSet, coarse: CoordinateSet, kernel: Kernel) -> None:
    low, high = coarse.bounds
    first = _scaled(kernel.offsets[0], fine.stride)
    last = _scaled(kernel.offsets[-1], fine.stride)
    for axis in range(3):
        if low[axis] + first[axis] < LOWEST or high[axis] + last[axis] > HIGHEST:
            raise UsageError(
                f"a kernel of size {kernel.size} at stride {fine.stride} reaches from voxels "
                f"{low[axis]} to {high[axis]} on axis {'xyz'[axis]} out of the keys' range",
                needed=f"{LOWEST} to {HIGHEST}, the kernel's reach included",
                fix="move the clouds nearer to the origin or use larger voxels",
            )
