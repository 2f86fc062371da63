"""A first-in first-out bank of keys that knows where each row came from."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densecl.errors import UsageError
from densecl.pairs import Keys

NO_SOURCE = -1


class Queue(nn.Module):
    """The K newest rows pushed, each with its source image and the step of its push.

    All state is in registered buffers, so a checkpoint restores the queue exactly. Rows fill from
    position 0; once full, the oldest are replaced first and a push wraps around the end.

    Attributes:
        feature: (K, D) float32.
        live: (K,) bool, False for a row never written.
        source: (K,) int64, source id of the row, -1 = unknown.
        pushed: (K,) int64, step of the push, -1 = never (also for random rows).
        pointer: () int64, where the next row goes.

    Args:
        dim: D.
        size: K.
        start: "empty" = no row is live, "random" = K random unit rows, all live, of source -1
            (reference code; for parity only: they are negatives that mean nothing).
        seed: seed of the random rows.

    Raises:
        UsageError: size or dim < 1, or unknown ``start``.

    Source: He et al. 2020, algorithm 1.
    """

    feature: Tensor
    live: Tensor
    source: Tensor
    pushed: Tensor
    pointer: Tensor

    def __init__(self, dim: int, size: int, *, start: str = "empty", seed: int = 0) -> None:
        super().__init__()
        if dim < 1 or size < 1:
            raise UsageError(f"queue of {size} rows of {dim} values", needed="both at least 1")
        if start not in ("empty", "random"):
            raise UsageError(f"queue start {start!r}", needed='"empty" or "random"')
        feature = torch.zeros(size, dim)
        if start == "random":
            draw = torch.Generator().manual_seed(seed)
            feature = F.normalize(torch.randn(size, dim, generator=draw), dim=1)
        self.register_buffer("feature", feature)
        self.register_buffer("live", torch.full((size,), start == "random"))
        self.register_buffer("source", torch.full((size,), NO_SOURCE))
        self.register_buffer("pushed", torch.full((size,), -1))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))

    def __len__(self) -> int:
        """K, live or not."""
        return len(self.feature)

    @torch.no_grad()
    def push(self, rows: Tensor, source: Tensor | None = None, step: int = 0) -> None:
        """Write rows over the oldest ones; of more than K rows the newest K stay.

        Args:
            rows: (N, D), oldest first; stored detached in float32. N may be 0.
            source: (N,) int64 source ids, or None (= unknown).
            step: the optimiser step of this push.

        Raises:
            ValueError: shapes disagree.
        """
        size, dim = self.feature.shape
        if rows.ndim != 2 or rows.shape[1] != dim:
            raise ValueError(f"rows need shape (N, {dim}), got {(*rows.shape,)}")
        if source is None:
            source = self.source.new_full((len(rows),), NO_SOURCE)
        if source.shape != rows.shape[:1]:
            raise ValueError(f"source needs shape ({len(rows)},), got {(*source.shape,)}")
        rows, source = rows[-size:], source[-size:]
        at = int(self.pointer)
        # Two slices: up to the end of the bank, then from its beginning.
        head = min(len(rows), size - at)
        for where, part in (
            (slice(at, at + head), slice(0, head)),
            (slice(0, len(rows) - head), slice(head, len(rows))),
        ):
            self.feature[where] = rows[part].to(self.feature)
            self.source[where] = source[part].to(self.source)
            self.pushed[where] = step
            self.live[where] = True
        self.pointer.fill_((at + len(rows)) % size)

    def keys(self) -> Keys:
        """The live rows as keys: feature, source, live; row j is position j of the bank.

        The tensors are views of the bank, not copies: push after the backward pass, as
        ``Method.after_step`` does.
        """
        # Rows fill from 0, so the live ones are a prefix.
        count = int(self.live.sum())
        return Keys(
            feature=self.feature[:count], source=self.source[:count], live=self.live[:count]
        )

    def age(self, step: int) -> float:
        """Mean age in steps of the live rows that were pushed; 0 where there are none."""
        pushed = self.pushed[self.pushed >= 0]
        return float((step - pushed).float().mean()) if len(pushed) else 0.0
