"""Labels of some frames carried to another by the similarity of its cells to theirs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

TILE = 8
"""Side of the squares of cells that are answered together. It decides time and memory and no
number: the keys of a tile are those of its own window, all other products are never formed."""


@dataclass(frozen=True)
class Neighbourhood:
    """Which cells of another frame a cell may be like.

    Attributes:
        shape: ``circle``: cells whose centre is nearer than ``radius``, strictly (VFS); ``square``:
            at most ``radius`` rows and columns away (DINO); ``all``: every cell.
        radius: in cells; not used by ``all``.

    Raises:
        ValueError: an unknown shape, or a radius that leaves out a cell's own place.
    """

    shape: Literal["circle", "square", "all"] = "circle"
    radius: float = 12.0

    def __post_init__(self) -> None:
        if self.shape not in ("circle", "square", "all"):
            raise ValueError(f"shape must be circle, square or all, got {self.shape!r}")
        if self.shape != "all" and not 1.0 <= self.radius < math.inf:
            raise ValueError(f"radius must be a number of cells >= 1, got {self.radius}")

    def reach(self, size: tuple[int, int]) -> int:
        """How many rows or columns away the farthest cell of an (h, w) map may be."""
        longest = max(size) - 1
        if self.shape == "all":
            return longest
        far = math.ceil(self.radius) - 1 if self.shape == "circle" else math.floor(self.radius)
        return min(far, longest)

    def allowed(self, dy: Tensor, dx: Tensor) -> Tensor:
        """Whether a cell may be dy rows and dx columns away; the two broadcast."""
        if self.shape == "circle":
            return dy * dy + dx * dx < self.radius**2
        if self.shape == "square":
            return (dy.abs() <= self.radius) & (dx.abs() <= self.radius)
        return torch.ones(torch.broadcast_shapes(dy.shape, dx.shape), dtype=torch.bool)


def carry_labels(
    query: Tensor,
    keys: Tensor,
    labels: Tensor,
    *,
    top_k: int,
    temperature: float,
    neighbourhood: Neighbourhood,
    tile: int = TILE,
) -> Tensor:
    """Soft labels of each cell: of the most similar cells of all key frames together.

    The ``top_k`` cells are chosen jointly over frames x neighbouring cells; of equally similar ones
    those of earlier frames and, within a frame, of earlier cells. Their labels are averaged under
    the softmax of similarity / temperature. With fewer than ``top_k`` neighbours all count.

    Args:
        query: (h, w, D) float, unit vectors.
        keys: (F, h, w, D) float, unit vectors, F >= 1. A frame may stand there twice.
        labels: (F, h, w, O) float.
        top_k: how many cells count, >= 1.
        temperature: > 0, divides the similarities.
        neighbourhood: which cells may.
        tile: see ``TILE``.

    Returns:
        (h, w, O). Memory grows with tile^2 x F x the cells of a tile's window.

    Raises:
        ValueError: shapes disagree, ``top_k`` < 1 or ``temperature`` <= 0.

    Source: Jabri et al. 2020 (Space-time correspondence as a contrastive random walk), section 4.1;
    Xu & Wang 2021 (VFS), section 4.2.
    """
    h, w, _ = query.shape
    if keys.shape[1:] != query.shape or labels.shape[:3] != keys.shape[:3] or not len(keys):
        raise ValueError(
            f"query {tuple(query.shape)}, keys {tuple(keys.shape)}, labels {tuple(labels.shape)}"
        )
    if top_k < 1 or not temperature > 0:
        raise ValueError(f"top_k {top_k} must be >= 1 and temperature {temperature} > 0")
    carried = labels.new_empty(h, w, labels.shape[-1])
    reach = neighbourhood.reach((h, w))
    for top in range(0, h, tile):
        for left in range(0, w, tile):
            bottom, right = min(top + tile, h), min(left + tile, w)
            y0, y1 = max(top - reach, 0), min(bottom + reach, h)
            x0, x1 = max(left - reach, 0), min(right + reach, w)
            near = _near((top, bottom, left, right), (y0, y1, x0, x1), neighbourhood)
            part = _carry(
                query[top:bottom, left:right].flatten(0, 1),
                keys[:, y0:y1, x0:x1].flatten(1, 2),
                labels[:, y0:y1, x0:x1].flatten(0, 2),
                None if near is None else near.to(query.device),
                top_k,
                temperature,
            )
            carried[top:bottom, left:right] = part.view(bottom - top, right - left, -1)
    return carried


def _near(
    tile: tuple[int, int, int, int],
    window: tuple[int, int, int, int],
    neighbourhood: Neighbourhood,
) -> Tensor | None:
    """(queries, window cells) bool, or None where every cell may."""
    if neighbourhood.shape == "all":
        return None
    (top, bottom, left, right), (y0, y1, x0, x1) = tile, window
    dy = torch.arange(y0, y1)[None, :] - torch.arange(top, bottom)[:, None]
    dx = torch.arange(x0, x1)[None, :] - torch.arange(left, right)[:, None]
    allowed = neighbourhood.allowed(dy[:, None, :, None], dx[None, :, None, :])
    return allowed.reshape((bottom - top) * (right - left), -1)


def _carry(
    query: Tensor,
    keys: Tensor,
    labels: Tensor,
    near: Tensor | None,
    top_k: int,
    temperature: float,
) -> Tensor:
    """One tile: query (n, D), keys (F, m, D), labels (F m, O), near (n, m) -> (n, O)."""
    frames, cells = keys.shape[:2]
    scores = query @ keys.flatten(0, 1).T
    if near is not None:
        far = torch.zeros_like(near, dtype=scores.dtype).masked_fill_(~near, -torch.inf)
        scores.view(-1, frames, cells).add_(far.unsqueeze(1))
    best, index = first_largest(scores, min(top_k, frames * cells))
    weight = torch.softmax(best / temperature, dim=1)
    return (labels[index] * weight.unsqueeze(2)).sum(1)


def first_largest(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row, of equal ones the first: values and indices, (n, k) each.

    ``torch.topk`` leaves open which of several equal values it takes.
    """
    values, index = scores.topk(k, dim=1)
    least = values[:, -1:]
    tied = ((scores >= least).sum(1) > k).nonzero().squeeze(1)
    if len(tied):
        rows, least = scores[tied], least[tied]
        above, equal = rows > least, rows == least
        room = k - above.sum(1, keepdim=True)
        chosen = above | (equal & (equal.cumsum(1) <= room))
        index[tied] = chosen.nonzero()[:, 1].view(-1, k)
        values[tied] = rows.gather(1, index[tied])
    return values, index
