"""The space around a point cut into cells: shells of distance and sectors of direction."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

KINDS = ("fast", "generic")


@dataclass(frozen=True)
class Partition:
    """How the space around a point is cut; a cell is numbered 0 to ``num_cells`` - 1.

    Both kinds have an inner shell, whose cells come first, and what lies outside it; points closer
    than the inner radius are in no cell.

    - ``fast``, of the authors' launch script: above and below. Cells 0, 1: near < d <= far, above
      and below; 2, 3: d > far. Points at exactly the same height are in no cell.
    - ``generic``: sectors of the angle about z by sectors of a second angle, atan2(dy, dz) modulo
      half a turn. Cell ``(shell * sectors[0] + first) * sectors[1] + second``, shell 0:
      near <= d < far, shell 1: d >= far.

    Attributes:
        kind: "fast" or "generic".
        near, far: radii, metres.
        sectors: numbers of sectors of the generic kind.

    Raises:
        ValueError: an unknown kind, radii that do not grow, or no sector.

    Source: Hou et al. 2021 (CSC), section 3.2, and its code.
    """

    kind: str = "fast"
    near: float = 0.05
    far: float = 0.5
    sectors: tuple[int, int] = (2, 2)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind is {self.kind!r}, needs one of {', '.join(KINDS)}")
        if not 0 <= self.near < self.far < math.inf:
            raise ValueError(f"radii {self.near} and {self.far}: needs 0 <= near < far")
        if min(self.sectors) < 1:
            raise ValueError(f"sectors {self.sectors}: needs 1 or more of both")

    @property
    def num_cells(self) -> int:
        """P: both shells."""
        return 4 if self.kind == "fast" else 2 * self.sectors[0] * self.sectors[1]

    def cell_of(self, dx: Tensor, dy: Tensor, dz: Tensor) -> Tensor:
        """Cell of each offset.

        Args:
            dx, dy, dz: of one shape, metres from the point in the middle; z is up.

        Returns:
            Same shape, int64, -1 = in no cell.
        """
        away = dx * dx + dy * dy + dz * dz
        if self.kind == "fast":
            cell = (away > self.far**2).long() * 2 + (dz < 0)
            none = (away <= self.near**2) | (dz == 0)
        else:
            first = _sector(torch.atan2(dy, dx), 2 * math.pi, self.sectors[0])
            second = _sector(torch.atan2(dy, dz), math.pi, self.sectors[1])
            shell = (away >= self.far**2).long()
            cell = (shell * self.sectors[0] + first) * self.sectors[1] + second
            none = away < self.near**2
        return cell.masked_fill_(none, -1)

    def around(self, coord: Tensor) -> PartitionCells:
        """The cells of points around one another.

        Args:
            coord: (n, 3) metres, of one scene.
        """
        return PartitionCells(self, coord)


@dataclass(frozen=True)
class PartitionCells:
    """``densecl.losses.partition_info_nce.Cells``: made from coordinates a block at a time."""

    partition: Partition
    coord: Tensor

    def __call__(self, query_rows: Tensor, key_rows: Tensor) -> Tensor:
        """(p,), (k,) rows -> (p, k) int64 cell of the key around the query, -1 = none."""
        middle, other = self.coord[query_rows], self.coord[key_rows]
        # Differences one by one: products of rows would lose centimetres far from the origin.
        return self.partition.cell_of(
            *(other[:, axis] - middle[:, axis].unsqueeze(1) for axis in range(3))
        )


def _sector(angle: Tensor, turn: float, count: int) -> Tensor:
    """Which of ``count`` equal parts of ``turn`` an angle, modulo ``turn``, falls into."""
    part = torch.floor(torch.remainder(angle, turn) / (turn / count)).long()
    # An angle just below 0 is ``turn`` when rounded: it belongs to the last part.
    return part.clamp_max_(count - 1)
