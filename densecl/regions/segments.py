"""What a segmentation yields: region ids of an image or a cloud, and numbers per region."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np


@dataclass
class Segments:
    """The regions of one input.

    Attributes:
        ids: (H, W) for an image, (N,) for a cloud, any integer type; -1 = in no region, else
            0 to R - 1, each of them used. ``relabel`` gets arbitrary ids there.
        scores: name -> (R, ...) float or integer numbers of each region, e.g. ``foreground``.
        levels: (R, L) integer or None: the ancestors of each region in a tree, coarse to fine;
            ``levels[ids]`` is the id path of each pixel or point. The last column is the finest.

    Raises:
        ValueError: ids with gaps or below -1, or scores of another number of regions.
    """

    ids: np.ndarray
    scores: dict[str, np.ndarray] = field(default_factory=dict)
    levels: np.ndarray | None = None

    def __post_init__(self) -> None:
        self.check()

    @classmethod
    def unchecked(
        cls, ids: np.ndarray, scores: dict[str, np.ndarray], levels: np.ndarray | None
    ) -> Segments:
        """Segments that were checked before: for a large image that takes longer than reading."""
        segments = cls.__new__(cls)
        segments.ids, segments.scores, segments.levels = ids, scores, levels
        return segments

    def check(self) -> None:
        """Raise a ``ValueError`` where the fields do not fit one another; see the class."""
        if self.ids.ndim not in (1, 2) or self.ids.dtype.kind not in "iu":
            raise ValueError(f"ids are {self.ids.dtype} of shape {self.ids.shape}")
        counts = region_sizes(self.ids)
        if not counts.all():
            raise ValueError(
                f"region {int(np.argmin(counts))} of {len(counts)} is empty: relabel the ids"
            )
        tables = dict(self.scores)
        if self.levels is not None:
            if self.levels.ndim != 2 or self.levels.dtype.kind not in "iu":
                raise ValueError(f"levels are {self.levels.dtype} of shape {self.levels.shape}")
            tables["levels"] = self.levels
        for name, values in tables.items():
            if values.ndim < 1 or len(values) != len(counts) or values.dtype.kind not in "iuf":
                raise ValueError(
                    f"{name} is {values.dtype} of shape {values.shape} for {len(counts)} regions"
                )

    @property
    def num_regions(self) -> int:
        """R."""
        return int(self.ids.max(initial=-1)) + 1

    def paths(self) -> np.ndarray:
        """(..., L) int32 id path of each pixel or point, coarse to fine; -1 where it has none.

        Without a tree L is 1.
        """
        levels = np.arange(self.num_regions)[:, None] if self.levels is None else self.levels
        outside = np.full((1, levels.shape[1]), -1)
        # the id -1 reads the last row
        return np.concatenate([levels, outside]).astype(np.int32)[self.ids]


def region_sizes(ids: np.ndarray) -> np.ndarray:
    """(R,) int64 number of pixels or points with each id 0 to R - 1; those of -1 do not count.

    Raises:
        ValueError: an id below -1.
    """
    flat = ids.reshape(-1)
    if flat.size and int(flat.min()) < -1:
        raise ValueError(f"region id {int(flat.min())}; -1 means none, nothing is lower")
    return np.bincount(flat.astype(np.int64) + 1)[1:]


def relabel(ids: np.ndarray) -> np.ndarray:
    """Renumber to 0 to R - 1 in the order of first appearance; negative ids become -1.

    Args:
        ids: any shape, any integer type.

    Returns:
        Same shape, int32.
    """
    flat = np.where(ids < 0, -1, ids).reshape(-1)
    used, first, inverse = np.unique(flat, return_index=True, return_inverse=True)
    rank = np.empty(len(used), np.int32)
    known = used >= 0
    rank[~known] = -1
    order = np.flatnonzero(known)[np.argsort(first[known], kind="stable")]
    rank[order] = np.arange(len(order), dtype=np.int32)
    return rank[inverse].reshape(ids.shape)


def digest(*arrays: np.ndarray | None) -> str:
    """Hash of the content, type and shape of arrays: what an input *is*, wherever it lies."""
    state = blake2b(digest_size=16)
    for array in arrays:
        if array is None:
            state.update(b"none;")
            continue
        state.update(f"{array.dtype.str}{array.shape};".encode())
        state.update(np.ascontiguousarray(array).data)
    return state.hexdigest()
