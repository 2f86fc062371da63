"""Cars, people and cyclists: rigid parts that swing about joints while the whole moves on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from densecl.data.streets.assets import CarModel, CycleModel, Painter, PersonModel
from densecl.data.streets.classes import BICYCLIST, CAR, PEDESTRIAN
from densecl.data.streets.primitives import (
    BODYWORK,
    BOX,
    CYLINDER,
    ELLIPSOID,
    GLASSHOUSE,
    HULL,
    Builder,
    Paint,
    Primitives,
    pitch_matrix,
    stack,
    yaw_matrix,
)

_HAT = np.array([0, 0, 0.06])
_SIDEWAYS = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]], np.float32)


@dataclass(frozen=True)
class Actor:
    """One moving (or parked) object.

    Attributes:
        rows: a builder's rows of the parts; they are stacked when first asked for, since some
            actors never enter the scene.
        joints: per part the joint it swings about (3), amplitude about y and phase, radians.
        position: (3,) metres at time 0; yaw in radians; speed in metres a second along yaw.
        rate: swings' angular frequency, radians a second.
        extent: (3,) length, width, height of the 3D box; instance and label of the whole.
    """

    rows: list[tuple]
    joints: list[tuple[float, ...]]
    position: np.ndarray
    yaw: float
    speed: float
    rate: float
    extent: tuple[float, float, float]
    instance: int
    label: int

    @cached_property
    def parts(self) -> Primitives:
        """The parts in the actor's frame (x ahead, y left, origin on the ground)."""
        return stack(self.rows)

    def at(self, time: float) -> np.ndarray:
        """(3,) ground position at ``time`` seconds."""
        heading = np.array([np.cos(self.yaw), np.sin(self.yaw), 0.0])
        return self.position + self.speed * time * heading


class _Limbs:
    """A builder whose parts may swing."""

    def __init__(self, label: int, instance: int) -> None:
        self.build = Builder()
        self.label, self.instance = label, instance
        self.joints: list[tuple[float, ...]] = []

    def add(
        self,
        kind: int,
        centre: Any,
        half: Any,
        paint: Paint,
        swing: tuple[float, ...] = (0.0,) * 5,
        **extra: Any,
    ) -> None:
        self.build.add(kind, centre, half, self.label, self.instance, paint, **extra)
        self.joints.append(swing)

    def bar(self, start, end, thick: float, paint: Paint, kind: int = ELLIPSOID, **extra) -> None:
        """A limb from ``start`` to ``end`` in the plane y = const."""
        gap = np.array([b - a for a, b in zip(start, end, strict=True)], float)
        length = float(np.sqrt(gap @ gap))
        s, c = gap[0] / length, gap[2] / length
        turn = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]], np.float32)
        half = (thick, thick, 0.5 * length + 0.5 * thick)
        middle = [(a + b) / 2 for a, b in zip(start, end, strict=True)]
        self.add(kind, middle, half, paint, rotation=turn, **extra)

    def finish(self, extent, position, yaw: float, speed: float, rate: float) -> Actor:
        return Actor(
            rows=self.build.rows,
            joints=self.joints,
            position=np.asarray(position, np.float64),
            yaw=float(yaw),
            speed=float(speed),
            rate=rate,
            extent=extent,
            instance=self.instance,
            label=self.label,
        )


def _prism(faces: list[tuple[float, float, float, float]]) -> np.ndarray:
    """Planes (K, 4) from unnormalised normals and a point's distance given per unit normal."""
    planes = np.array(faces, np.float64)
    length = np.linalg.norm(planes[:, :3], axis=1, keepdims=True)
    return (planes / length).astype(np.float32)


@dataclass(frozen=True)
class _Body:
    """The two hulls of a car: planes, half heights, and the cabin's ends along x, metres."""

    shape: np.ndarray
    top: np.ndarray
    low: float
    high: float
    front: float
    back: float


@lru_cache(maxsize=256)
def _body(model: CarModel) -> _Body:
    """The hulls of ``model``: the same for all of its cars."""
    length, width, height = model.length / 2, model.width / 2, model.height
    clear, belt = _clearance(model), model.belt
    if model.style >= 2:
        low, high = (belt - clear) / 2, (height - belt) / 2
        shape = _prism(
            [
                (1, 0, 0, length),
                (-1, 0, 0, length),
                (0, 1, 0, width),
                (0, -1, 0, width),
                (0, 0, 1, low),
                (0, 0, -1, low),
                (1, 0, 0.5, length + 0.25 * low),
            ]
        )
        slope = 0.15 if model.style == 3 else 0.45
        top = _prism(
            [
                (1, 0, slope, length - 0.05 - slope * high),
                (-1, 0, 0.05, length - 0.05 * high),
                (0, 1, 0.06, width - 0.06 * high),
                (0, -1, 0.06, width - 0.06 * high),
                (0, 0, 1, high),
                (0, 0, -1, high),
            ]
        )
        front, back = length, -length
    else:
        low, high = (belt - clear) / 2, (height - belt) / 2
        bonnet = 2 * length * model.bonnet
        shape = _prism(
            [
                (1, 0, 0.12, length),
                (-1, 0, 0.1, length),
                (0, 1, 0.1, width + 0.02),
                (0, -1, 0.1, width + 0.02),
                (0, 0, 1, low),
                (0, 0, -1, low),
                (0.13, 0, 1, low + 0.13 * (length - bonnet * 1.1)),
            ]
        )
        boot = 2 * length * (0.13 if model.style == 0 else 0.0)
        front, back = length - bonnet, -length + boot + 0.06
        reach = (front - back) / 2
        a, b = model.front_slope + 0.25, model.rear_slope + (0.35 if model.style == 0 else 0.0)
        top = _prism(
            [
                (1, 0, a, reach - a * high),
                (-1, 0, b, reach - b * high),
                (0, 1, 0.3, width - 0.03 - 0.3 * high),
                (0, -1, 0.3, width - 0.03 - 0.3 * high),
                (0, 0, 1, high),
                (0, 0, -1, high),
            ]
        )
    return _Body(shape, top, low, high, front, back)


def _clearance(model: CarModel) -> float:
    """Metres between the ground and the body."""
    return 0.45 * model.wheel + 0.08


def car(model: CarModel, painter: Painter, instance: int, position, yaw, speed) -> Actor:
    """A car, van or bus of ``model``."""
    limbs = _Limbs(CAR, instance)
    length, width, height = model.length / 2, model.width / 2, model.height
    clear, belt = _clearance(model), model.belt
    body, glass, tyre = painter(), painter.pair(), painter()
    glass_paint = replace(body, pattern=GLASSHOUSE)
    hulls = _body(model)
    low, high, front, back = hulls.low, hulls.high, hulls.front, hulls.back
    middle = (front + back) / 2
    style = float(model.style)
    body = replace(body, pattern=BODYWORK, param=(length, width, low, style))
    limbs.add(HULL, (0, 0, clear + low), (length, width, low), body, planes=hulls.shape)
    reach = (front - back) / 2
    # The windows' colour rides in the parameters: a pattern paints over two base colours only.
    tint = tuple(float(c) * 0.35 for c in glass[0])
    glass_paint = replace(glass_paint, param=(*tint, reach, high, style))
    half = (reach, width, high)
    limbs.add(HULL, (middle, 0, belt + high), half, glass_paint, planes=hulls.top)
    axle = 0.62 * length
    for x in (axle, -axle):
        for y in (width - 0.1, -width + 0.1):
            limbs.add(
                CYLINDER,
                (x, y, model.wheel),
                (model.wheel, model.wheel, 0.12),
                tyre,
                rotation=_SIDEWAYS,
            )
    return limbs.finish((2 * length, 2 * width, height), position, yaw, speed, 0.0)


def person(model: PersonModel, painter: Painter, instance: int, position, yaw, speed) -> Actor:
    """A pedestrian; the limbs swing while walking."""
    limbs = _Limbs(PEDESTRIAN, instance)
    g = painter.generator
    h, bulk, phase = model.height, model.bulk, g.uniform(0, 2 * np.pi)
    legs, shirt, skin, hair = painter(), painter(), painter(), painter()
    hip, shoulder = 0.5 * h, 0.8 * h
    stride = 0.5 if speed > 0.1 else 0.06
    for sign in (1.0, -1.0):
        y = 0.09 * bulk * sign
        swing = (0.0, y, hip, stride * sign, phase)
        limbs.bar((0, y, hip), (0, y, 0.03), 0.085 * bulk, legs, swing=swing)
        shoe = (0.06, y, 0.05)
        limbs.add(ELLIPSOID, shoe, (0.14, 0.06, 0.06), hair, swing=swing)
        y = (model.shoulder * bulk) * sign
        swing = (0.0, y, shoulder, -0.8 * stride * sign, phase)
        limbs.bar((0, y, shoulder), (0.04, y, 0.44 * h), 0.06 * bulk, shirt, swing=swing)
    limbs.add(ELLIPSOID, (0, 0, 0.65 * h), (0.14 * bulk, model.shoulder * bulk, 0.2 * h), shirt)
    limbs.add(ELLIPSOID, (0, 0, 0.5 * h), (0.14 * bulk, 0.17 * bulk, 0.1 * h), legs)
    if model.skirt > 0:
        drop = 0.3 * model.skirt + 0.12
        at = (0.0, 0.0, hip - drop / 2)
        limbs.add(ELLIPSOID, at, (0.17 * bulk, 0.22 * bulk, drop), painter())
    if model.bag > 0:
        at = (-0.2 * bulk, 0.0, 0.68 * h)
        limbs.add(ELLIPSOID, at, (0.14, 0.17, 0.1 + model.bag), painter())
    head = model.head
    limbs.add(ELLIPSOID, (0.01, 0, h - head), (head, 0.85 * head, 1.15 * head), skin)
    limbs.add(ELLIPSOID, (-0.03, 0, h - 0.75 * head), (head, 0.9 * head, head), hair)
    width = 2 * model.shoulder * bulk + 0.12
    return limbs.finish((0.5, width, h), position, yaw, speed, 2 * np.pi * 0.9)


def cyclist(model: CycleModel, painter: Painter, instance: int, position, yaw, speed) -> Actor:
    """A bicycle with its rider, one object as in CamVid."""
    limbs = _Limbs(BICYCLIST, instance)
    g = painter.generator
    r, base, saddle, bulk = model.wheel, model.base, model.saddle, model.bulk
    frame, tyre, shirt, legs = painter(), painter(), painter(), painter()
    for x in (base, -base):
        limbs.add(CYLINDER, (x, 0, r), (r, r, 0.035), tyre, rotation=_SIDEWAYS, hollow=0.72)
    crank = (0.0, 0.0, r)
    for start, end in (
        ((-base, 0, r), crank),
        (crank, (-0.2, 0, saddle)),
        (crank, (base - 0.15, 0, saddle + 0.02)),
        ((-0.17, 0, saddle - 0.1), (base - 0.15, 0, saddle - 0.02)),
        ((base, 0, r), (base - 0.2, 0, saddle + 0.15)),
    ):
        limbs.bar(start, end, 0.035, frame, kind=CYLINDER)
    hip = np.array([-0.2, 0, saddle + 0.06])
    lean = np.array([np.sin(model.lean), 0, np.cos(model.lean)])
    neck = hip + 0.55 * lean
    limbs.add(
        ELLIPSOID,
        (hip + neck) / 2,
        (0.14 * bulk, 0.2 * bulk, 0.36),
        shirt,
        rotation=pitch_matrix(model.lean).astype(np.float32),
    )
    head = neck + 0.2 * np.array([np.sin(0.5 * model.lean), 0, np.cos(0.5 * model.lean)])
    limbs.add(ELLIPSOID, head, (model.head, 0.85 * model.head, 1.15 * model.head), painter())
    limbs.add(ELLIPSOID, head + _HAT, (1.15 * model.head, model.head, 0.09), painter())
    bars = np.array([base - 0.2, 0, saddle + 0.15])
    limbs.add(BOX, bars, (0.03, 0.25, 0.025), frame)
    phase = g.uniform(0, 2 * np.pi)
    for sign in (1, -1):
        side = np.array([0, 0.12 * bulk * sign, 0])
        swing = (*(hip + side), 0.28 * sign, phase)
        knee = hip + side + (0.34, 0, -0.22)
        limbs.bar(hip + side, knee, 0.085 * bulk, legs, swing=swing)
        limbs.bar(knee, (0.06, side[1], r - 0.05), 0.065 * bulk, legs, swing=swing)
        arm = np.array([0, 0.2 * bulk * sign, 0])
        limbs.bar(neck + arm - 0.05 * lean, bars + arm, 0.05 * bulk, shirt)
    extent = (2 * (base + r), 0.5 * bulk, float(head[2] + model.head))
    return limbs.finish(extent, position, yaw, speed, 2 * np.pi * 0.8)


class Troupe:
    """All actors of a drive, posed together."""

    def __init__(self, actors: list[Actor]) -> None:
        self.actors = actors
        self.parts = stack([row for a in actors for row in a.rows]) if actors else None
        if not actors:
            return
        self.owner = np.repeat(np.arange(len(actors)), [len(a.rows) for a in actors])
        joints = np.array([joint for a in actors for joint in a.joints])
        self.pivot, self.amplitude, self.phase = joints[:, :3], joints[:, 3], joints[:, 4]
        self.rate = np.array([a.rate for a in actors])[self.owner]
        self.speed = np.array([a.speed for a in actors])
        yaw = [a.yaw for a in actors]
        self.heading = np.array([[np.cos(y), np.sin(y), 0.0] for y in yaw])
        self.position = np.array([a.position for a in actors])
        self.turn = yaw_matrix(np.array(yaw))[self.owner]

    def at(self, time: float, swing: np.ndarray | None = None) -> Primitives | None:
        """The parts of all actors in the world at ``time`` seconds; None without actors.

        ``swing`` (number of actors,) gives each actor's limbs a time of their own.
        """
        if self.parts is None:
            return None
        when = time if swing is None else swing[self.owner]
        turn = pitch_matrix(self.amplitude * np.sin(self.rate * when + self.phase))
        base = (self.position + (self.speed * time)[:, None] * self.heading)[self.owner]
        arm = np.einsum("nij,nj->ni", turn, self.parts.centre - self.pivot) + self.pivot
        centre = np.einsum("nij,nj->ni", self.turn, arm) + base
        rotation = (self.turn @ turn @ self.parts.rotation).astype(np.float32)
        speed = self.speed.astype(np.float32)[self.owner]
        velocity = self.turn[:, :, 0].astype(np.float32) * speed[:, None]
        return replace(self.parts, centre=centre, rotation=rotation, velocity=velocity)
