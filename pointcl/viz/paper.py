"""What stands around the points: background, text, legend, colour bar, scale, grid, boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from pointcl.data.scan import Boxes
from pointcl.viz.cameras import Viewpoint
from pointcl.viz.colours import Colours, Ramp

Colour = tuple[int, int, int]

FONT = cv2.FONT_HERSHEY_SIMPLEX
SHIFT = 4
"""Fractional bits of the positions handed to OpenCV: 1/16 of a pixel."""

EDGES = tuple(
    edge for k in range(4) for edge in ((k, (k + 1) % 4), (k + 4, (k + 1) % 4 + 4), (k, k + 4))
)
"""Pairs of corners of a box, see ``box_corners``."""

FRONT = (0, 1, 5, 4)
"""The corners of the side that a box's heading points at."""


@dataclass(frozen=True)
class Paper:
    """Colours of everything that is no point."""

    ground: Colour
    ink: Colour
    faint: Colour
    box: Colour


PAPERS = {
    "light": Paper((255, 255, 255), (45, 48, 54), (226, 228, 232), (20, 20, 24)),
    "dark": Paper((17, 19, 24), (222, 225, 230), (44, 48, 56), (245, 246, 248)),
}


def paper(background: str | Colour) -> Paper:
    """ "light", "dark", or a paper of a background colour with ink that can be read on it.

    Raises:
        ValueError: no such paper.
    """
    if isinstance(background, str):
        if background not in PAPERS:
            raise ValueError(f"no background {background!r}, only {', '.join(PAPERS)} or a colour")
        return PAPERS[background]
    near = PAPERS["light" if np.dot(background, (0.3, 0.59, 0.11)) > 127 else "dark"]
    r, g, b = (int(value) for value in background)
    faint = tuple(round(0.88 * c + 0.12 * i) for c, i in zip((r, g, b), near.ink, strict=True))
    return Paper((r, g, b), near.ink, faint, near.box)  # type: ignore[arg-type]


def text_width(text: str, scale: float) -> int:
    """Pixels that a line of text is wide."""
    return int(cv2.getTextSize(text, FONT, scale, 1)[0][0])


def write(picture: np.ndarray, text: str, x: float, y: float, colour: Colour, scale: float) -> None:
    """Write a line of text in place; (x, y) is the left end of its base line."""
    cv2.putText(picture, text, (round(x), round(y)), FONT, scale, colour, 1, cv2.LINE_AA)


def title_strip(text: str, width: int, look: Paper, unit: float) -> np.ndarray:
    """(h, width, 3) uint8: one line of text; it is shrunk to fit."""
    strip = np.full((round(34 * unit), width, 3), look.ground, np.uint8)
    scale = 0.58 * unit
    scale *= min(1.0, (width - 24 * unit) / max(text_width(text, scale), 1))
    write(strip, text, 12 * unit, 23 * unit, look.ink, scale)
    return strip


def legend_strip(colours: Colours, width: int, look: Paper, unit: float) -> np.ndarray:
    """(h, width, 3) uint8: swatches and names in as many lines as they need, or a colour bar."""
    pad, line, scale = 12 * unit, 22 * unit, 0.46 * unit
    places: list[tuple[float, int]] = []
    x, row = pad, 0
    swatch, gap = 12 * unit, 18 * unit
    for name in colours.names:
        needs = swatch + 6 * unit + text_width(name, scale)
        if x + needs > width - pad and x > pad:
            x, row = pad, row + 1
        places.append((x, row))
        x += needs + gap
    if not places and colours.ramp is None and not colours.title:
        return np.zeros((0, width, 3), np.uint8)
    strip = np.full((round((row + 1) * line + 14 * unit), width, 3), look.ground, np.uint8)
    if colours.ramp is not None:
        _bar(strip, colours.ramp, pad, look, unit)
    elif not places:
        write(strip, colours.title, pad, 22 * unit, look.ink, scale)
    for (left, row), name, colour in zip(
        places, colours.names, _rows(colours.swatches), strict=bool(places)
    ):
        base = row * line + 22 * unit
        middle = (left + swatch / 2, base - 4.5 * unit)
        _disc(strip, middle, swatch / 2, colour)
        write(strip, name, left + swatch + 6 * unit, base, look.ink, scale)
    return strip


def _rows(swatches: np.ndarray | None) -> list[Colour]:
    return [] if swatches is None else [(int(r), int(g), int(b)) for r, g, b in swatches]


def _bar(strip: np.ndarray, ramp: Ramp, left: float, look: Paper, unit: float) -> None:
    scale, base = 0.46 * unit, 22 * unit
    for text in (ramp.title, number(ramp.low)):
        write(strip, text, left, base, look.ink, scale)
        left += text_width(text, scale) + (14 if text == ramp.title else 8) * unit
    wide, tall = round(180 * unit), round(11 * unit)
    x, y = round(left), round(base - 10 * unit)
    across = np.linspace(0, 255, wide).round().astype(np.int64)
    room = strip[y : y + tall, x : x + wide]
    room[:] = ramp.table[across][None, : room.shape[1]]
    write(strip, number(ramp.high), x + wide + 8 * unit, base, look.ink, scale)


def number(value: float) -> str:
    """A value with three digits: "12.3", "0.041", "1520"."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def nice_length(about: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that is no longer than ``about``."""
    power = 10.0 ** np.floor(np.log10(about))
    return float(power * max(step for step in (1, 2, 5) if step * power <= about * (1 + 1e-9)))


def metres(length: float) -> str:
    """A length with its unit: "20 m", "5 cm"."""
    return f"{length:g} m" if length >= 1 else f"{length * 100:g} cm"


def draw_scale(picture: np.ndarray, length: float, pixels: float, look: Paper, unit: float) -> None:
    """A bar of so many metres in the lower left corner, in place."""
    x, y = round(16 * unit) + 0.5, picture.shape[0] - round(16 * unit) + 0.5
    ends = [(x, y - 5 * unit), (x, y), (x + pixels, y), (x + pixels, y - 5 * unit)]
    line = fixed(np.array(ends) - 0.5)
    for colour, wide in ((look.ground, 5), (look.ink, 2)):
        cv2.polylines(picture, [line], False, colour, round(wide * unit), cv2.LINE_AA, SHIFT)
    text = metres(length)
    halo(picture, text, x + pixels + 8 * unit, y + 1 * unit, look, 0.5 * unit)


def halo(picture: np.ndarray, text: str, x: float, y: float, look: Paper, scale: float) -> None:
    """Text that can be read on points: it stands on a patch of background, in place."""
    (wide, tall), below = cv2.getTextSize(text, FONT, scale, 1)
    top, left = max(0, round(y - tall - 4)), max(0, round(x - 4))
    patch = picture[top : round(y + below + 2), left : round(x + wide + 4)]
    patch[:] = (0.25 * patch + 0.75 * np.array(look.ground)).astype(np.uint8)
    write(picture, text, x, y, look.ink, scale)


def draw_grid(
    picture: np.ndarray,
    view: Viewpoint,
    low: np.ndarray,
    high: np.ndarray,
    step: float,
    colour: Colour,
) -> None:
    """Lines every ``step`` metres of x and y at the height ``low[2]``, in place."""
    size = picture.shape[:2]
    first, last = np.floor(low[:2] / step), np.ceil(high[:2] / step)
    ends = np.stack([first, last]) * step
    along = np.linspace(0, 1, 65)
    for axis in (0, 1):
        for k in np.arange(first[axis], last[axis] + 1):
            line = np.empty((len(along), 3))
            line[:, axis] = k * step
            line[:, 1 - axis] = ends[0, 1 - axis] + along * np.ptp(ends[:, 1 - axis])
            line[:, 2] = low[2]
            pixels, _, _ = view.project(line, size)
            draw_line(picture, pixels, colour, 1)


def draw_line(picture: np.ndarray, pixels: np.ndarray, colour: Colour, width: int) -> None:
    """A line through (n, 2) pixels, in place; the parts that are NaN or far away are left out."""
    reach = 8 * max(picture.shape[:2])
    with np.errstate(invalid="ignore"):
        seen = (np.abs(pixels) < reach).all(1)
    both = seen[:-1] & seen[1:]
    for ends in np.stack([pixels[:-1][both], pixels[1:][both]], 1):
        a, b = fixed(ends - 0.5)[:, 0].tolist()
        cv2.line(picture, a, b, colour, width, cv2.LINE_AA, SHIFT)


def box_corners(boxes: Boxes) -> np.ndarray:
    """(K, 8, 3) float64: the bottom, then the top, each clockwise from the front left."""
    signs = np.array([(1, 1), (1, -1), (-1, -1), (-1, 1)], np.float64)
    half = boxes.extent[:, None] / 2
    x, y = np.moveaxis(signs * half[..., :2], -1, 0)
    c, s = np.cos(boxes.yaw)[:, None], np.sin(boxes.yaw)[:, None]
    turned = np.stack([c * x - s * y, s * x + c * y], -1)
    corners = np.empty((len(boxes), 8, 3))
    corners[:, :4, :2] = corners[:, 4:, :2] = turned
    corners[:, :4, 2], corners[:, 4:, 2] = -half[..., 2], half[..., 2]
    return corners + boxes.centre[:, None]


def draw_boxes(
    picture: np.ndarray,
    boxes: Boxes,
    view: Viewpoint,
    colours: Sequence[Colour],
    width: int,
) -> None:
    """Wireframes, the far ones first, the front side tinted, in place."""
    size = picture.shape[:2]
    corners = box_corners(boxes)
    share = np.linspace(0, 1, 17)[:, None]
    _, depth, _ = view.project(boxes.centre, size)
    for row in np.argsort(-depth, kind="stable"):
        pixels, _, _ = view.project(corners[row], size)
        reach = 8 * max(size)
        if np.isfinite(pixels).all() and np.abs(pixels).max() < reach:
            tint(picture, pixels[list(FRONT)], colours[row], 0.3)
        for a, b in EDGES:
            line = corners[row][a] * (1 - share) + corners[row][b] * share
            draw_line(picture, view.project(line, size)[0], colours[row], width)


def tint(picture: np.ndarray, corners: np.ndarray, colour: Colour, share: float) -> None:
    """Mix a colour into the polygon of (n, 2) pixels, in place."""
    top = np.clip(np.floor(corners.min(0)), 0, None).astype(int)
    end = np.ceil(corners.max(0)).astype(int) + 1
    room = picture[top[1] : max(end[1], 0), top[0] : max(end[0], 0)]
    if room.size:
        inked = room.copy()
        cv2.fillPoly(inked, [fixed(corners - top - 0.5)], colour, cv2.LINE_AA, SHIFT)
        room[:] = cv2.addWeighted(inked, share, room, 1 - share, 0)


def fixed(pixels: np.ndarray) -> np.ndarray:
    """Positions (n, 2) as OpenCV wants them with ``SHIFT``: (n, 1, 2) int32."""
    return np.round(pixels * 2**SHIFT).astype(np.int32).reshape(-1, 1, 2)


def _disc(picture: np.ndarray, middle: tuple[float, float], radius: float, colour: Colour) -> None:
    x, y = (round((value - 0.5) * 2**SHIFT) for value in middle)
    cv2.circle(picture, (x, y), round(radius * 2**SHIFT), colour, -1, cv2.LINE_AA, SHIFT)
