"""Points of a scan on the picture of its camera, and picture and scan beside each other."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from densecl.viz.pairs import spread
from pointcl.sensors.projection import Projection, Reason
from pointcl.viz.cameras import Viewpoint, perspective
from pointcl.viz.colours import Colours, by_label, by_value
from pointcl.viz.paper import SHIFT, Colour, fixed, legend_strip, paper, title_strip
from pointcl.viz.raster import splat
from pointcl.viz.scan import draw_scan, viewpoint

REASON_COLOURS: Mapping[Reason, Colour] = {
    Reason.KEPT: (38, 190, 96),
    Reason.NOT_FINITE: (120, 120, 120),
    Reason.TIME_GAP: (250, 200, 30),
    Reason.BEHIND: (90, 90, 90),
    Reason.TOO_NEAR: (150, 90, 230),
    Reason.OUT_OF_FRAME: (160, 160, 160),
    Reason.EGO_MASK: (40, 130, 255),
    Reason.OCCLUDED: (235, 40, 60),
}
RIM = (20, 20, 20)
"""Dark edge of lines and points, to be seen on any picture."""

GAP = 10
"""Pixels between picture and scan."""


def draw_projection(
    image: np.ndarray,
    projection: Projection,
    colours: Colours | None = None,
    *,
    by: str = "depth",
    point_size: float | None = None,
    dim: float = 0.3,
    regions: np.ndarray | None = None,
    background: str | Colour = "light",
    title: str = "",
    legend: bool = True,
) -> np.ndarray:
    """The points that a picture shows, drawn on it; nearer ones on top.

    Args:
        image: (H, W, 3) uint8 RGB, as large as the projection says.
        projection: of N points, from ``pointcl.sensors.project``.
        colours: of the N points, e.g. by label; of those only the kept points are drawn.
        by: without ``colours``: "depth" of the kept points, or "reason": also the points that
            were dropped but have a pixel, each in the colour of its reason.
        point_size: diameter in pixels; None = larger the fewer points there are.
        dim: share by which the picture is darkened under the points.
        regions: (H, W) int ids of superpixels whose borders are drawn, or None.
        background: of the strips.
        title: one line above.
        legend: what the colours mean and how many points were dropped for which reason, below.

    Returns:
        (H', W, 3) uint8, RGB.

    Raises:
        ValueError: sizes or lengths disagree, or ``by`` is unknown.
    """
    check_image(image, projection)
    if colours is None:
        colours = by_reason(projection) if by == "reason" else _by_depth(projection, by)
    if len(colours) != len(projection):
        raise ValueError(f"{len(colours)} colours, {len(projection)} points")
    look = paper(background)
    unit = max(0.5, image.shape[1] / 1200)
    shown = np.ones(len(projection), bool) if by == "reason" else projection.kept
    ground = _dimmed(image, dim, regions)
    if point_size is None:
        room = image.shape[0] * image.shape[1] / max(int(projection.kept.sum()), 1)
        point_size = float(np.clip(np.sqrt(0.05 * room), 2.0, max(2.0, 5.5 * unit)))
    raster = splat(
        projection.pixel[shown],
        projection.depth[shown],
        colours.rgb[shown],
        image.shape[:2],
        radius=point_size / 2,
        edges=0.0,
        fine=3,
    )
    parts = [raster.over(ground)]
    if title:
        parts.insert(0, title_strip(title, image.shape[1], look, unit))
    if legend:
        parts.append(legend_strip(colours, image.shape[1], look, unit))
        if by != "reason":
            parts.append(title_strip(count_line(projection), image.shape[1], look, 0.8 * unit))
    return np.concatenate(parts)


def draw_links(
    image: np.ndarray,
    points: np.ndarray,
    projection: Projection,
    *,
    colours: Colours | np.ndarray | None = None,
    count: int = 36,
    view: str | Viewpoint | None = None,
    regions: np.ndarray | None = None,
    height: int = 480,
    background: str | Colour = "light",
    opacity: float = 0.7,
    title: str = "",
) -> np.ndarray:
    """Picture and scan with lines from pixels to their points.

    A line and its two ends share a colour that follows the place in the picture: hue from left to
    right, lightness from top to bottom. Of the kept points those are drawn whose pixels lie
    farthest from each other. A picture much wider than tall stands above the scan.

    Args:
        image: (H, W, 3) uint8 RGB.
        points: (N, 3) metres, in the frame of the sensor.
        projection: of the points.
        colours: of the points; None = the kept ones dark, the others faint.
        count: lines at most.
        view: of the scan; None = from behind the sensor, so that left is left.
        regions: (H, W) int ids of superpixels whose borders are drawn, or None.
        height: of the picture in pixels if both stand side by side, else of the scan.
        background: of the scan.
        opacity: of the lines.
        title: one line above.

    Returns:
        (H', W', 3) uint8, RGB.

    Raises:
        ValueError: sizes or lengths disagree.
    """
    check_image(image, projection)
    if len(points) != len(projection):
        raise ValueError(f"{len(points)} points, a projection of {len(projection)}")
    above = image.shape[1] > 2 * image.shape[0]
    scale = 1200 / image.shape[1] if above else height / image.shape[0]
    size = round(image.shape[0] * scale), round(image.shape[1] * scale)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    left = cv2.resize(_dimmed(image, 0.2, regions), size[::-1], interpolation=how)
    room = (height, size[1]) if above else (size[0], round(size[0] * 1.4))
    kept = np.flatnonzero(projection.kept)
    look = paper(background)
    if colours is None:
        grey = np.array([look.faint, look.ink], np.float64)
        # short of the ink: the ends of the lines stay the strongest
        grey[1] = 0.7 * grey[1] + 0.3 * np.array(look.ground)
        colours = grey.astype(np.uint8)[projection.kept.astype(np.int64)]
    if view is None:
        seen_from = _behind(points, points[kept], room)
    else:
        seen_from = viewpoint(view, points, room)
    right = draw_scan(
        points,
        colours,
        view=seen_from,
        size=room,
        background=background,
        legend=False,
        scale_bar=False,
        point_size=2.4 * max(room) / 800,
    )
    offset = np.array([0, size[0] + GAP] if above else [size[1] + GAP, 0])
    canvas = np.full((*(_outer(size, room, above)), 3), look.ground, np.uint8)
    canvas[: size[0], : size[1]] = left
    canvas[offset[1] : offset[1] + room[0], offset[0] : offset[0] + room[1]] = right

    start = projection.pixel[kept] * scale
    end, _, _ = seen_from.project(points[kept], room)
    inside = np.isfinite(end).all(1) & (end >= 0).all(1) & (end < room[::-1]).all(1)
    kept, start, end = kept[inside], start[inside], end[inside]
    order = np.lexsort((start[:, 1], start[:, 0]))
    chosen = order[spread(start[order], count)]
    drawn = [(start[i], end[i] + offset, _place_colour(start[i], size)) for i in chosen.tolist()]
    _draw_lines(canvas, drawn, opacity)
    unit = max(0.5, canvas.shape[1] / 1200)
    parts = [title_strip(title, canvas.shape[1], look, unit)] if title else []
    return np.concatenate([*parts, canvas])


def by_reason(projection: Projection) -> Colours:
    """Each point in the colour of what became of it, with the number of points of each reason."""
    counts = projection.counts()
    palette = np.array([REASON_COLOURS[reason] for reason in Reason], np.uint8)
    names = [f"{_words(name)} {count:,}" for name, count in counts.items()]
    return by_label(projection.reason, palette, names, title="reason")


def count_line(projection: Projection) -> str:
    """What became of the points, e.g. "3,120 of 34,688 points kept; behind 20,113, ..."."""
    counts = projection.counts()
    kept = counts.pop("kept")
    dropped = sorted(((many, _words(name)) for name, many in counts.items() if many), reverse=True)
    rest = ", ".join(f"{name} {many:,}" for many, name in dropped)
    return f"{kept:,} of {len(projection):,} points kept" + (f"; {rest}" if rest else "")


def check_image(image: np.ndarray, projection: Projection) -> None:
    """Raise ValueError unless the image is (H, W, 3) uint8 and of the projection's size."""
    if image.shape != (*projection.size, 3) or image.dtype != np.uint8:
        raise ValueError(
            f"the projection is onto {tuple(projection.size)}, the image is {image.shape} "
            f"{image.dtype}; needed (H, W, 3) uint8"
        )


def _by_depth(projection: Projection, by: str) -> Colours:
    if by != "depth":
        raise ValueError(f'by must be "depth" or "reason", got {by!r}')
    depth = np.where(projection.kept, projection.depth, np.nan)
    return by_value(depth, "depth (m)", ramp="turbo", clip=(1.0, 97.0))


def _dimmed(image: np.ndarray, dim: float, regions: np.ndarray | None) -> np.ndarray:
    """The picture under the points: darker, and paler, so that their colours stand out."""
    grey = image.mean(2, keepdims=True)
    ground = ((image * 0.6 + grey * 0.4) * (1 - dim)).astype(np.uint8) if dim > 0 else image.copy()
    if regions is None:
        return ground
    from densecl.viz.segments import draw_borders

    if regions.shape != image.shape[:2]:
        raise ValueError(f"regions are {regions.shape}, the image is {image.shape[:2]}")
    return draw_borders(ground, regions)


def _behind(points: np.ndarray, kept: np.ndarray, size: tuple[int, int]) -> Viewpoint:
    """From above and behind the sensor, which stands at the origin, towards the kept points."""
    aim = np.median(kept, axis=0) if len(kept) else np.array([1.0, 0.0, 0.0])
    azimuth = float(np.degrees(np.arctan2(-aim[1], -aim[0])))
    return perspective(kept if len(kept) else points, size, azimuth=azimuth, elevation=28.0)


def _outer(size: tuple[int, int], room: tuple[int, int], above: bool) -> tuple[int, int]:
    if above:
        return size[0] + GAP + room[0], max(size[1], room[1])
    return max(size[0], room[0]), size[1] + GAP + room[1]


def _place_colour(pixel: np.ndarray, size: tuple[int, int]) -> Colour:
    across, down = pixel[0] / size[1], pixel[1] / size[0]
    rgb = colorsys.hls_to_rgb(0.85 * across, 0.65 - 0.25 * down, 0.95)
    return round(rgb[0] * 255), round(rgb[1] * 255), round(rgb[2] * 255)


def _draw_lines(
    canvas: np.ndarray, drawn: Sequence[tuple[np.ndarray, np.ndarray, Colour]], opacity: float
) -> None:
    lines = canvas.copy()
    thin = max(1, round(max(canvas.shape) / 1200))
    for a, b, colour in drawn:
        ends = fixed(np.stack([a, b]) - 0.5)
        cv2.polylines(lines, [ends], False, RIM, thin + 1, cv2.LINE_AA, SHIFT)
        cv2.polylines(lines, [ends], False, colour, thin, cv2.LINE_AA, SHIFT)
    cv2.addWeighted(lines, opacity, canvas, 1 - opacity, 0, dst=canvas)
    for a, b, colour in drawn:
        for x, y in fixed(np.stack([a, b]) - 0.5)[:, 0].tolist():
            for radius, ink in ((5.0, RIM), (3.8, colour)):
                wide = round(radius * thin * 2**SHIFT)
                cv2.circle(canvas, (x, y), wide, ink, -1, cv2.LINE_AA, SHIFT)


def _words(name: str) -> str:
    return name.replace("_", " ")
