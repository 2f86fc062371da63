"""Draw a cloud: points in colours from a viewpoint, with legend, scale and boxes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pointcl.data.scan import Boxes
from pointcl.viz.cameras import Viewpoint, bounds, from_above, perspective
from pointcl.viz.colours import Colours
from pointcl.viz.paper import (
    Colour,
    Paper,
    draw_boxes,
    draw_grid,
    draw_scale,
    halo,
    legend_strip,
    metres,
    nice_length,
    paper,
    title_strip,
)
from pointcl.viz.raster import spacing, splat

LARGEST = 12.0
"""Pixels of a point's diameter that are never exceeded unless asked for."""

VIEWS = ("perspective", "above")


def draw_scan(
    points: np.ndarray,
    colours: Colours | np.ndarray,
    *,
    view: str | Viewpoint = "perspective",
    size: tuple[int, int] = (800, 1200),
    background: str | Colour = "light",
    point_size: float | None = None,
    title: str = "",
    legend: bool = True,
    scale_bar: bool = True,
    boxes: Boxes | None = None,
    box_colours: Sequence[Colour] | None = None,
    edges: float = 1.0,
) -> np.ndarray:
    """A picture of a cloud, without a screen.

    Nearer points hide those behind them; points beside nearer ones are darkened, so that shapes
    stand out. The order of the points makes no difference.

    Args:
        points: (N, 3) metres; rows that are not finite are not drawn.
        colours: of the points, from ``pointcl.viz.colours``, or (N, 3) uint8.
        view: "perspective", "above" (x to the right, y up), or a viewpoint.
        size: (H, W) of the picture, with title and legend.
        background: "light", "dark" or (r, g, b).
        point_size: diameter of a point in pixels, in a perspective one in the middle of the
            picture; None = smaller the more points there are.
        title: one line above.
        legend: classes or colour bar below.
        scale_bar: from above a bar, in perspective a grid on the ground, in metres.
        boxes: drawn as wireframes; the side they head for is tinted.
        box_colours: one a box; None = ink.
        edges: how strongly edges of depth are drawn, 0 = not.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        ValueError: lengths disagree, or an unknown view or background.
    """
    if not isinstance(colours, Colours):
        colours = Colours(np.asarray(colours))
    check_rows(points, colours.rgb)
    look = paper(background)
    unit = max(0.5, min(size) / 800)
    parts = []
    if title:
        parts.append(title_strip(title, size[1], look, unit))
    nothing = np.zeros((0, size[1], 3), np.uint8)
    below = legend_strip(colours, size[1], look, unit) if legend else nothing
    inner = size[0] - sum(len(part) for part in (*parts, below)), size[1]
    if inner[0] < 1:
        raise ValueError(f"a picture of {size} leaves no room beside its title and legend")
    seen_from = viewpoint(view, points, inner)
    canvas = np.full((*inner, 3), look.ground, np.uint8)
    step = _ground(canvas, points, seen_from, look) if scale_bar else 0.0
    diameter = _point_size(points, seen_from, inner) if point_size is None else point_size
    pixels, depth, scale = seen_from.project(points, inner)
    # in front of the middle points grow as they come nearer, behind it they shrink less
    grow = np.clip(scale / _scale_at(seen_from, inner), 0.6, 3.0)
    radius = np.minimum(np.nan_to_num(diameter / 2 * grow, nan=0.0), max(diameter, LARGEST / 2))
    raster = splat(pixels, depth, colours.rgb, inner, radius=radius, edges=edges)
    canvas = raster.over(canvas)
    if boxes is not None:
        strokes = box_colours or [look.box] * len(boxes)
        if len(strokes) != len(boxes):
            raise ValueError(f"{len(strokes)} box colours, {len(boxes)} boxes")
        draw_boxes(canvas, boxes, seen_from, strokes, max(1, round(1.4 * unit)))
    if scale_bar:
        if seen_from.parallel:
            length = nice_length(inner[1] / 6 / seen_from.focal(inner))
            draw_scale(canvas, length, length * seen_from.focal(inner), look, unit)
        else:
            text = f"grid {metres(step)}"
            halo(canvas, text, 14 * unit, inner[0] - 14 * unit, look, 0.46 * unit)
    return np.concatenate([*parts, canvas, below])


def check_rows(points: np.ndarray, colours: np.ndarray) -> None:
    """Raise ValueError unless there are (N, 3) points and as many (N, 3) uint8 colours."""
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"points must be (N, 3), got {points.shape}")
    if colours.shape != points.shape or colours.dtype != np.uint8:
        given = f"{colours.shape} {colours.dtype}"
        raise ValueError(f"colours must be ({len(points)}, 3) uint8 like the points, got {given}")


def viewpoint(view: str | Viewpoint, points: np.ndarray, size: tuple[int, int]) -> Viewpoint:
    """The viewpoint that a name stands for.

    Raises:
        ValueError: there is none of that name.
    """
    if isinstance(view, Viewpoint):
        return view
    if view == "above":
        return from_above(points, size)
    if view == "perspective":
        return perspective(points, size)
    raise ValueError(f"no view {view!r}, only {', '.join(VIEWS)} or a Viewpoint")


def _ground(canvas: np.ndarray, points: np.ndarray, view: Viewpoint, look: Paper) -> float:
    """Draw the grid; the metres between its lines."""
    low, high = bounds(points)
    step = nice_length(max(float((high - low)[:2].max()), 1e-2) / 6)
    draw_grid(canvas, view, low, high, step, look.faint)
    return step


def _scale_at(view: Viewpoint, size: tuple[int, int]) -> float:
    """Pixels a metre in the middle of the picture."""
    distance = float(np.linalg.norm(np.subtract(view.target, view.eye)))
    return view.focal(size) if view.parallel else view.focal(size) / distance


def _point_size(points: np.ndarray, view: Viewpoint, size: tuple[int, int]) -> float:
    """Pixels of a point's diameter: a third of the picture at most, but surfaces are closed."""
    even = np.sqrt(0.35 * size[0] * size[1] / max(len(points), 1))
    closed = 2.5 * spacing(points) * _scale_at(view, size)
    return float(np.clip(max(min(even, 4.0), closed), 1.4, 10.0) * max(1.0, min(size) / 1200))
