"""Pairs: weighted positive correspondences, the thing that a dense method trains on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from densecl.pairs.checks import check_float, check_ids, check_rows

if TYPE_CHECKING:
    import numpy as np

    from densecl.pairs.point_set import PointSet


@dataclass
class Pairs:
    """Positive pairs ``src row -> dst row`` of two point sets; many-to-many.

    Attributes:
        src, dst: (P,) int64 rows.
        weight: (P,) float >= 0 or None (= 1); acts in the loss. A weight of 0 leaves the pair out.
        target: (P,) float in [0, 1] or None (= 1), for losses with signs.
        num_src, num_dst: rows of the two sets.
    """

    src: Tensor
    dst: Tensor
    weight: Tensor | None = None
    target: Tensor | None = None
    num_src: int = field(kw_only=True)
    num_dst: int = field(kw_only=True)

    def __post_init__(self) -> None:
        p = check_ids("src", self.src, low=0, high=self.num_src, limit="num_src")
        check_rows("dst", self.dst, p, "src", self.src)
        check_ids("dst", self.dst, low=0, high=self.num_dst, limit="num_dst")
        for name in ("weight", "target"):
            value = getattr(self, name)
            if value is None:
                continue
            check_rows(name, value, p, "src", self.src)
            check_float(name, value, dims=1)
            top = 1.0 if name == "target" else torch.inf
            # written so that NaN is refused too
            if not value.is_meta and not bool(((value >= 0) & (value <= top)).all()):
                low, high = float(value.min()), float(value.max())
                raise ValueError(f"{name} must be in [0, {top:g}], got values from {low} to {high}")

    def __len__(self) -> int:
        return self.src.shape[0]

    def __repr__(self) -> str:
        return f"Pairs({len(self)} of {self.num_src} x {self.num_dst} rows)"

    @property
    def device(self) -> torch.device:
        """Device of the pairs."""
        return self.src.device

    @classmethod
    def empty(cls, num_src: int, num_dst: int, device: torch.device | str | None = None) -> Pairs:
        """No pair between sets of these sizes."""
        none = torch.empty(0, dtype=torch.int64, device=device)
        return cls(none, none.clone(), num_src=num_src, num_dst=num_dst)

    @classmethod
    def identity(cls, n: int, device: torch.device | str | None = None) -> Pairs:
        """Row i with row i."""
        rows = torch.arange(n, device=device)
        return cls(rows, rows.clone(), num_src=n, num_dst=n)

    def key(self) -> Tensor:
        """One int64 per pair, ordered by (src, dst): src * num_dst + dst, (P,)."""
        return self.src * self.num_dst + self.dst

    def filter(self, keep: Tensor) -> Pairs:
        """The pairs of a (P,) bool mask, or of an int64 index, in that order."""
        if keep.dtype == torch.bool and keep.shape != self.src.shape:
            raise ValueError(f"keep {tuple(keep.shape)} for src {tuple(self.src.shape)}")
        return replace(
            self,
            src=self.src[keep],
            dst=self.dst[keep],
            weight=None if self.weight is None else self.weight[keep],
            target=None if self.target is None else self.target[keep],
        )

    def swap(self) -> Pairs:
        """``dst -> src``, in the same order."""
        return replace(self, src=self.dst, dst=self.src, num_src=self.num_dst, num_dst=self.num_src)

    def sort(self) -> Pairs:
        """Ordered by (src, dst), the order that every builder returns."""
        return self.filter(torch.argsort(self.key(), stable=True))

    def unique(self) -> Pairs:
        """Sorted, each (src, dst) once; the first of equal pairs gives weight and target."""
        ordered = self.sort()
        key = ordered.key()
        first = torch.ones_like(key, dtype=torch.bool)
        first[1:] = key[1:] != key[:-1]
        return ordered.filter(first)

    def contains(self, src: Tensor, dst: Tensor) -> Tensor:
        """Whether src[i] -> dst[i] is a pair, (n,) bool."""
        if len(self) == 0:
            return torch.zeros_like(src, dtype=torch.bool)
        known = torch.sort(self.key()).values
        wanted = src * self.num_dst + dst
        place = torch.searchsorted(known, wanted).clamp_(max=len(known) - 1)
        return known[place] == wanted

    def mutual(self, reverse: Pairs) -> Pairs:
        """The pairs i -> j for which ``reverse``, built from dst to src, has j -> i.

        Raises:
            ValueError: ``reverse`` is not between the same sets.
        """
        if (reverse.num_src, reverse.num_dst) != (self.num_dst, self.num_src):
            raise ValueError(
                f"reverse is {reverse.num_src} x {reverse.num_dst}, "
                f"needed {self.num_dst} x {self.num_src}"
            )
        return self.filter(reverse.contains(self.dst, self.src))

    @classmethod
    def cat(cls, parts: Sequence[Pairs], *, offset: bool = False) -> Pairs:
        """Join several lists.

        Args:
            parts: at least one. A missing weight or target counts as 1 where another part has it.
            offset: False: all parts are between the same two sets. True: the sets are stacked too,
                so the rows of each part are numbered after those of the one before.

        Raises:
            ValueError: no part, or without ``offset`` the sizes of the sets differ.
        """
        if not parts:
            raise ValueError("cat needs at least one Pairs")
        num_src, num_dst = parts[0].num_src, parts[0].num_dst
        src, dst = [parts[0].src], [parts[0].dst]
        for part in parts[1:]:
            if not offset and (part.num_src, part.num_dst) != (num_src, num_dst):
                raise ValueError(
                    f"sizes differ: {part.num_src} x {part.num_dst} and {num_src} x {num_dst}"
                )
            src.append(part.src + num_src if offset else part.src)
            dst.append(part.dst + num_dst if offset else part.dst)
            if offset:
                num_src, num_dst = num_src + part.num_src, num_dst + part.num_dst
        return cls(
            torch.cat(src),
            torch.cat(dst),
            _cat_or_ones(parts, "weight"),
            _cat_or_ones(parts, "target"),
            num_src=num_src,
            num_dst=num_dst,
        )

    def to(self, device: torch.device | str) -> Pairs:
        """The same pairs on ``device``."""
        return replace(
            self,
            src=self.src.to(device),
            dst=self.dst.to(device),
            weight=None if self.weight is None else self.weight.to(device),
            target=None if self.target is None else self.target.to(device),
        )

    def per_row(self) -> Tensor:
        """Number of pairs of each src row, (num_src,) int64."""
        return torch.bincount(self.src, minlength=self.num_src)

    def per_sample(self, points: PointSet) -> Tensor:
        """Number of pairs of each sample, (B,) int64; ``points`` is the src set."""
        if len(points) != self.num_src:
            raise ValueError(f"points has {len(points)} rows, num_src is {self.num_src}")
        return torch.bincount(points.sample[self.src], minlength=points.num_samples)

    def stats(
        self,
        src: PointSet | None = None,
        dst: PointSet | None = None,
        reverse: Pairs | None = None,
    ) -> dict[str, float]:
        """Numbers to log; see ``densecl.pairs.measure.pair_stats``."""
        from densecl.pairs.measure import pair_stats

        return pair_stats(self, src, dst, reverse)

    def save(
        self, path: str | Path, src: PointSet | None = None, dst: PointSet | None = None
    ) -> None:
        """Write the pairs to one file, atomically; see ``densecl.pairs.store.save_pairs``."""
        from densecl.pairs.store import save_pairs

        save_pairs(self, path, src, dst)

    @classmethod
    def load(cls, path: str | Path) -> Pairs:
        """Read what ``save`` wrote; see ``densecl.pairs.store.load_pairs``."""
        from densecl.pairs.store import load_pairs

        return load_pairs(path)

    def draw(
        self,
        image0: Tensor | np.ndarray,
        image1: Tensor | np.ndarray,
        src: PointSet,
        dst: PointSet,
        **options: Any,
    ) -> np.ndarray:
        """Both views side by side with the pairs on top; see ``densecl.viz.pairs.draw_pairs``."""
        from densecl.viz.pairs import draw_pairs

        return draw_pairs(self, image0, image1, src, dst, **options)


def _cat_or_ones(parts: Sequence[Pairs], name: str) -> Tensor | None:
    values = [getattr(part, name) for part in parts]
    if all(value is None for value in values):
        return None
    known = next(value for value in values if value is not None)
    return torch.cat(
        [
            known.new_ones(len(part)) if value is None else value
            for part, value in zip(parts, values, strict=True)
        ]
    )
