"""A town: a grid of roads, and on the blocks between them all that does not move."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from densecl.data.streets.assets import PALETTES, Painter, palette
from densecl.data.streets.classes import PAVEMENT, ROAD
from densecl.data.streets.draw import banded, rng
from densecl.data.streets.primitives import BOX, SLAB, Builder, Primitives
from densecl.data.streets.site import KERB, Site, furnish

ROADS = 5


@dataclass(frozen=True)
class Grid:
    """The roads: ``lines[a]`` are centre coordinates of roads that cross axis ``a``.

    Attributes:
        lines: per axis (5,) float64 metres; a road of axis 0 runs along y at x = lines[0][i].
        widths: per axis (5,) half widths, metres.
        pavement: width of the pavement, metres.
        side: +1 where traffic keeps right, -1 where it keeps left.
    """

    lines: tuple[np.ndarray, np.ndarray]
    widths: tuple[np.ndarray, np.ndarray]
    pavement: float
    side: int


@dataclass(frozen=True)
class Town:
    """A built town: its group and index, its roads, its objects, its palette."""

    group: str
    index: int
    grid: Grid
    static: Primitives
    colours: np.ndarray
    road_paint: Primitives
    palette: int


def _grid(generator: np.random.Generator, group: str) -> Grid:
    lines, widths = [], []
    for _ in range(2):
        gaps = banded(generator, group, 46.0, 92.0, ROADS - 1)
        at = np.concatenate([[0.0], np.cumsum(gaps)])
        lines.append(at - at.mean())
        widths.append(banded(generator, group, 3.4, 6.2, ROADS))
    side = 1 if generator.random() < 0.5 else -1
    return Grid(
        (lines[0], lines[1]), (widths[0], widths[1]), banded(generator, group, 2.2, 4.4), side
    )


def _outer(grid: Grid) -> float:
    """Depth in metres of the blocks beyond the last roads."""
    return 26.0 + 3.0 * grid.pavement


def _close(site: Site, grid: Grid, tall: float) -> None:
    """End every road at the ring with a house, so that no street runs out of the world."""
    outer = _outer(grid)
    for axis in range(2):
        along = 1 - axis
        edge = grid.lines[along][-1] + grid.widths[along][-1]
        for line, half in zip(grid.lines[axis], grid.widths[axis], strict=True):
            for sign in (1.0, -1.0):
                far = edge if sign > 0 else grid.lines[along][0] - grid.widths[along][0]
                centre, size = np.zeros(3), np.zeros(3)
                centre[axis], centre[along], centre[2] = line, far + sign * outer / 2, KERB - 0.5
                size[axis], size[along], size[2] = half, outer / 2, 0.5
                paint = site.paint(SLAB, (outer, 0.3, 1.5), lean=1)
                site.build.add(BOX, centre.tolist(), size.tolist(), PAVEMENT, -1, paint)
                inward = np.zeros(2)
                inward[along] = sign
                start = np.zeros(2)
                start[axis], start[along] = line, far
                site.frame(start, inward, -float(half))
                height = banded(site.g, site.group, 4.0, tall)
                site.building(0.0, 2 * float(half), 9.0, height, grid.pavement)


def _blocks(grid: Grid, axis: int) -> list[tuple[float, float, bool, bool]]:
    """Spans between roads: (low, high, road at the low end, road at the high end)."""
    at, wide = grid.lines[axis], grid.widths[axis]
    outer = _outer(grid)
    low = np.concatenate([[at[0] - wide[0] - outer], at + wide])
    high = np.concatenate([at - wide, [at[-1] + wide[-1] + outer]])
    last = len(low) - 1
    return [
        (float(a), float(b), i > 0, i < last)
        for i, (a, b) in enumerate(zip(low, high, strict=True))
    ]


@lru_cache(maxsize=24)
def build_town(group: str, seed: int, index: int) -> Town:
    """Town ``index`` of ``group``; the same whenever and wherever it is built."""
    g = rng("town", seed, group, index)
    which = int(g.integers(PALETTES))
    colours = palette(group, seed, which)
    grid = _grid(g, group)
    site = Site(Builder(), Painter(g, colours), group)
    street = Builder()
    for _ in range(2 * ROADS):
        street.add(BOX, (0, 0, 0), (1, 1, 1), ROAD, -1, site.paint(lean=0))
    tall = banded(g, group, 8.0, 22.0)
    for x0, x1, west, east in _blocks(grid, 0):
        for y0, y1, south, north in _blocks(grid, 1):
            half = ((x1 - x0) / 2, (y1 - y0) / 2, 0.5)
            centre = ((x0 + x1) / 2, (y0 + y1) / 2, KERB - 0.5)
            paint = site.paint(
                SLAB, (grid.pavement, g.uniform(0.2, 0.45), g.uniform(0.8, 2.5)), lean=1
            )
            site.build.add(BOX, centre, half, PAVEMENT, -1, paint)
            furniture = g.dirichlet((2.0, 2.0, 1.6, 0.7, 0.8, 0.8))
            mood = {
                "built": g.choice([0.8, 0.75, 0.15]),
                "garden": g.choice([0.0, 0.3, 0.8]),
                "tall": tall,
                "furniture": furniture,
            }
            room = min(half[0], half[1]) - grid.pavement - 1.0
            corner = min(room, 11.0) + grid.pavement
            sides = [
                (south, (x0, y0), (0.0, 1.0), x1 - x0, False),
                (north, (x1, y1), (0.0, -1.0), x1 - x0, False),
                (west, (x0, y1), (1.0, 0.0), y1 - y0, True),
                (east, (x1, y0), (-1.0, 0.0), y1 - y0, True),
            ]
            for faces_road, start, inward, length, short in sides:
                if not faces_road:
                    continue
                inset = corner if short else grid.pavement
                site.frame(np.array(start), np.array(inward), inset)
                furnish(site, length - 2 * inset, grid.pavement, room, mood)
    _close(site, grid, tall)
    return Town(group, index, grid, site.build.build(), colours, street.build(), which)
