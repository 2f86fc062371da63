"""What stands on a block side: buildings, fences, trees, lamps and signs."""

from __future__ import annotations

import numpy as np

from densecl.data.streets.assets import Painter
from densecl.data.streets.classes import BUILDING, FENCE, POLE, SIGN, TREE
from densecl.data.streets.draw import banded
from densecl.data.streets.primitives import (
    BOARD,
    BOX,
    CYLINDER,
    ELLIPSOID,
    FACADE,
    HULL,
    RAILING,
    Builder,
    yaw_matrix,
)

KERB = 0.14
"""Height of the pavement above the road, metres."""


class Site:
    """Adds objects to a block side: ``along`` runs with the kerb, ``depth`` away from it."""

    def __init__(self, build: Builder, painter: Painter, group: str) -> None:
        self.build, self.paint, self.group = build, painter, group
        self.g = painter.generator
        self.count = 0

    def frame(self, start: np.ndarray, inward: np.ndarray, inset: float) -> None:
        """Work from ``inset`` metres along the kerb after ``start``; depth runs ``inward``."""
        self.run = np.array([inward[1], -inward[0]])
        self.start, self.inward = start + inset * self.run, inward
        # Local x runs with the kerb, local -y faces the road.
        self.turn = yaw_matrix(np.arctan2(self.run[1], self.run[0])).astype(np.float32)

    def place(self, along: float, depth: float, z: float) -> tuple[float, float, float]:
        """World position of a place on the site."""
        x, y = self.start + along * self.run + depth * self.inward
        return float(x), float(y), z

    def new(self) -> int:
        """The id of a new object."""
        self.count += 1
        return self.count - 1

    def add(
        self,
        kind: int,
        at: tuple[float, float, float],
        half: tuple,
        label: int,
        inst: int,
        paint,
        **extra,
    ) -> None:
        """Add a primitive turned with the site; ``at`` is (along, depth, height)."""
        self.build.add(kind, self.place(*at), half, label, inst, paint, rotation=self.turn, **extra)

    def building(self, along: float, width: float, depth: float, height: float, setback: float):
        """A house with a roof and at times a shop sign; ``setback`` metres from the kerb."""
        g, inst = self.g, self.new()
        floor, bay = banded(g, self.group, 2.6, 3.8), banded(g, self.group, 1.7, 4.2)
        bay = width / max(round(width / bay), 1)
        window = (banded(g, self.group, 0.35, 0.8), banded(g, self.group, 0.4, 0.75))
        style = float(g.integers(0, 4))
        paint = self.paint(FACADE, (bay, floor, *window, style, height / 2), lean=1)
        at = (along + width / 2, setback + depth / 2, KERB + height / 2)
        self.add(BOX, at, (width / 2, depth / 2, height / 2), BUILDING, inst, paint)
        roof = g.random()
        if roof < 0.5:
            rise, over = g.uniform(1.2, 3.2), 0.3
            across = roof < 0.3
            span = (depth if across else width) / 2 + over
            slope = np.array([rise, span]) / np.hypot(rise, span)
            planes = np.zeros((5, 4), np.float32)
            k, j = (1, 0) if across else (0, 1)
            for row, sign in enumerate((1, -1)):
                planes[row, k], planes[row, 2] = sign * slope[0], slope[1]
                planes[row, 3] = slope[1] * rise / 2
                planes[2 + row, j] = sign
                planes[2 + row, 3] = (width if across else depth) / 2 + over
            planes[4] = (0, 0, -1, rise / 2)
            half = (width / 2 + over, depth / 2 + over, rise / 2)
            top = (at[0], at[1], KERB + height + rise / 2)
            self.add(HULL, top, half, BUILDING, inst, self.paint(), planes=planes)
        else:
            cap = (at[0], at[1], KERB + height + 0.25)
            self.add(
                BOX, cap, (width / 2 + 0.2, depth / 2 + 0.2, 0.25), BUILDING, inst, self.paint()
            )
        if g.random() < 0.5:
            # A shop sign, flat on the facade or standing out from it.
            half = (g.uniform(0.8, 2.0), 0.1, g.uniform(0.35, 0.6))
            if g.random() < 0.5:
                half = (0.1, g.uniform(0.45, 0.8), g.uniform(0.5, 0.9))
            spot = along + g.uniform(0.2, 0.8) * width
            at = (spot, setback - half[1], KERB + g.uniform(2.7, 3.6))
            self.add(BOX, at, half, SIGN, self.new(), self.paint(BOARD, (g.random(),)))

    def fence(self, along: float, width: float, setback: float) -> None:
        """A fence with posts."""
        g, inst = self.g, self.new()
        height = banded(g, self.group, 0.9, 2.1)
        paint = self.paint(
            RAILING, (g.uniform(0.25, 0.9), float(g.integers(0, 3)), height / 2), lean=1
        )
        at = (along + width / 2, setback, KERB + height / 2)
        self.add(BOX, at, (width / 2, 0.06, height / 2), FENCE, inst, paint)
        posts = max(int(width / 2.5), 1)
        colour = self.paint()
        for k in range(posts + 1):
            spot = (along + width * k / posts, setback, KERB + height / 2 + 0.05)
            self.add(BOX, spot, (0.09, 0.09, height / 2 + 0.08), FENCE, inst, colour)

    def tree(self, along: float, depth: float, tall: float) -> None:
        """A tree ``tall`` metres high: trunk and crown."""
        g, inst = self.g, self.new()
        trunk = tall * g.uniform(0.28, 0.45)
        half = (0.05 * tall**0.7, 0.05 * tall**0.7, trunk / 2 + 0.4)
        self.add(CYLINDER, (along, depth, KERB + half[2]), half, TREE, inst, self.paint())
        leaves = self.paint(lean=0)
        conifer = g.random() < 0.25
        blobs = 4 if conifer else int(g.integers(4, 8))
        crown = tall - trunk
        for k in range(blobs):
            if conifer:
                wide = 0.34 * crown * (1 - 0.75 * k / blobs)
                spot = (along, depth, KERB + trunk + crown * (0.15 + 0.75 * k / blobs))
                size = (wide, wide, crown * 0.24)
            else:
                wide = crown * g.uniform(0.26, 0.4)
                dx, dy = g.normal(0, 0.2 * crown, 2)
                dz = crown * g.uniform(0.25, 0.75)
                spot = (along + dx, depth + 0.7 * dy, KERB + trunk + dz)
                size = (wide, wide, wide * g.uniform(0.7, 1.0))
            self.add(ELLIPSOID, spot, size, TREE, inst, leaves, hollow=g.uniform(0.15, 0.3))

    def hedge(self, along: float, width: float, depth: float) -> None:
        """A row of bushes."""
        inst, leaves = self.new(), self.paint(lean=0)
        tall = self.g.uniform(0.5, 1.1)
        for k in range(max(int(width / 1.9), 1)):
            size = (1.35, 0.65, tall * self.g.uniform(0.8, 1.1))
            spot = (along + 0.9 + 1.9 * k, depth, KERB + tall * 0.6)
            self.add(ELLIPSOID, spot, size, TREE, inst, leaves, hollow=0.12)

    def lamp(self, along: float, depth: float) -> None:
        """A street lamp, with or without an arm."""
        g, inst, paint = self.g, self.new(), self.paint()
        tall, thick = g.uniform(4.5, 8.5), banded(g, self.group, 0.08, 0.17)
        at = (along, depth, KERB + tall / 2)
        self.add(CYLINDER, at, (thick, thick, tall / 2), POLE, inst, paint)
        foot = (along, depth, KERB + 0.5)
        self.add(CYLINDER, foot, (1.6 * thick, 1.6 * thick, 0.5), POLE, inst, paint)
        if g.random() < 0.7:
            arm = g.uniform(0.6, 1.3)
            at = (along, depth - arm / 2, KERB + tall)
            self.add(BOX, at, (0.07, arm / 2 + 0.1, 0.07), POLE, inst, paint)
            at = (along, depth - arm, KERB + tall - 0.05)
            self.add(BOX, at, (0.16, 0.38, 0.1), POLE, inst, self.paint())
        else:
            at = (along, depth, KERB + tall + 0.2)
            self.add(ELLIPSOID, at, (0.28, 0.28, 0.3), POLE, inst, self.paint())

    def bollard(self, along: float, depth: float) -> None:
        """A bollard."""
        thick, tall = self.g.uniform(0.09, 0.15), self.g.uniform(0.8, 1.2)
        at = (along, depth, KERB + tall / 2)
        self.add(CYLINDER, at, (thick, thick, tall / 2), POLE, self.new(), self.paint())

    def sign(self, along: float, depth: float) -> None:
        """One or two boards on a post."""
        g = self.g
        tall = g.uniform(2.3, 3.2)
        thick = banded(g, self.group, 0.05, 0.09)
        at = (along, depth, KERB + tall / 2)
        self.add(CYLINDER, at, (thick, thick, tall / 2), POLE, self.new(), self.paint())
        inst = self.new()
        face = self.paint(BOARD, (g.random(),))
        size = banded(g, self.group, 0.4, 0.75)
        for k in range(int(g.integers(1, 3))):
            # Boards face along the road, towards either direction of traffic.
            z = KERB + tall - k * 2.1 * size
            if g.random() < 0.45:
                turn = self.turn.astype(np.float64) @ yaw_matrix(np.pi / 2) @ _UPRIGHT
                self.build.add(
                    CYLINDER,
                    self.place(along, depth, z),
                    (size, size, thick + 0.03),
                    SIGN,
                    inst,
                    face,
                    rotation=turn.astype(np.float32),
                )
            else:
                half = (thick + 0.03, size * g.uniform(0.7, 1.2), size * g.uniform(0.7, 1.1))
                self.add(BOX, (along, depth, z), half, SIGN, inst, face)


_UPRIGHT = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])


def furnish(site: Site, length: float, pavement: float, room: float, mood: dict) -> None:
    """Furnish one side of a block: ``length`` along the kerb, ``room`` of depth."""
    g, group = site.g, site.group
    along = 0.0
    while along < length - 4:
        width = min(banded(g, group, 7.0, 19.0), length - along)
        kind = g.random()
        if kind < mood["built"]:
            depth = min(room * 0.9, banded(g, group, 7.0, 12.0))
            setback = pavement + (g.uniform(2.5, 4.5) if g.random() < mood["garden"] else 0.0)
            height = banded(g, group, 4.0, mood["tall"])
            site.building(along, width, depth, height, setback)
            if setback > pavement:
                site.fence(along, width, pavement + 0.1)
                if g.random() < 0.6:
                    site.hedge(along, width, pavement + 1.0)
        else:
            if kind < 0.93:
                site.fence(along, width, pavement + 0.1)
            for _ in range(int(g.integers(1, 4))):
                spot = along + g.uniform(0.1, 0.9) * width
                site.tree(spot, pavement + g.uniform(2.5, 6.0), g.uniform(4.0, 9.0))
            if g.random() < 0.5:
                site.hedge(along, width, pavement + 1.4)
        along += width
    kerb = g.uniform(0.5, 0.8)
    at = g.uniform(1.0, 6.0)
    while at < length - 1:
        what = g.choice(6, p=mood["furniture"])
        if what == 0:
            site.lamp(at, kerb)
        elif what == 1:
            site.sign(at, kerb)
        elif what == 2:
            site.tree(at, kerb + 0.3, g.uniform(3.5, 7.0))
        elif what == 3:
            for k in range(int(g.integers(2, 5))):
                site.bollard(at + 1.4 * k, kerb)
        elif what == 4:
            site.fence(at, g.uniform(3.0, 7.0), kerb)
            at += 5.0
        at += g.uniform(3.5, 9.0)
