"""One file with clouds to turn and zoom in a browser, without a network."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from densecl.files import write_atomically
from pointcl.data.scan import Boxes, Scan
from pointcl.viz.cameras import bounds, perspective
from pointcl.viz.colours import Colours, modes
from pointcl.viz.paper import EDGES, Colour, box_corners, metres, nice_length
from pointcl.viz.raster import spacing

STEPS = 65535
"""Steps of a coordinate between the smallest and the largest of its scan: 16 bits."""

RAMP = 255
"""Steps of a colour ramp in the page; one more value of a byte says that there is none."""

FRAMED_FOR = (800, 1200)
"""Shape of the window that the first view is framed for."""


@dataclass
class Shown:
    """A scan of a page.

    Attributes:
        points: (N, 3) metres; rows that are not finite are left out.
        colours: name -> colours of the points, at least one; the first is shown first.
        name: for the heading.
        boxes: drawn as wireframes.
        box_colours: one a box; None = ink.
    """

    points: np.ndarray
    colours: Mapping[str, Colours]
    name: str = ""
    boxes: Boxes | None = None
    box_colours: Sequence[Colour] | None = None

    def __post_init__(self) -> None:
        if self.points.ndim != 2 or self.points.shape[1] != 3:
            raise ValueError(f"{self.name}: points must be (N, 3), got {self.points.shape}")
        if not self.colours:
            raise ValueError(f"{self.name}: no colours to show the points in")
        for name, colours in self.colours.items():
            if colours.rgb.shape != self.points.shape:
                given = f"{len(colours)} colours of {name!r}"
                raise ValueError(f"{self.name}: {given}, {len(self.points)} points")

    @classmethod
    def of(cls, scan: Scan, **options: Any) -> Shown:
        """A scan in every colouring that its data allow; options as those of ``modes``."""
        return cls(scan.points, modes(scan, **options), scan.name, scan.boxes)


def write_html(
    path: str | Path,
    scans: Sequence[Shown | Scan],
    *,
    title: str = "",
    theme: str = "auto",
) -> Path:
    """Write a page that shows clouds: turn, zoom, colour by, switch classes off, next scan.

    It is one file that opens without a network, of about 8 bytes a point and 1 to 4 more for
    each colouring; coordinates are rounded to 1/65535 of the scan's extent.

    Args:
        path: of the file; folders are made as needed.
        scans: at least one; of a ``Scan`` every colouring is shown that its data allow.
        title: heading and name of the page; "" = the names of the scans.
        theme: "light", "dark", or "auto" = what the reader's system is set to.

    Returns:
        The path.

    Raises:
        ValueError: there is no scan, or no such theme.
    """
    if not scans:
        raise ValueError("a page shows at least one scan")
    if theme not in ("auto", "light", "dark"):
        raise ValueError(f'theme must be "auto", "light" or "dark", got {theme!r}')
    shown = [scan if isinstance(scan, Shown) else Shown.of(scan) for scan in scans]
    page = render(page_data(shown, title, theme))
    path = Path(path)
    write_atomically(path, lambda temporary: temporary.write_text(page, encoding="utf-8"))
    return path


def render(data: Mapping[str, Any]) -> str:
    """The page of its data."""
    folder = files("pointcl.viz")
    page = (folder / "viewer.html").read_text(encoding="utf-8")
    script = (folder / "viewer.js").read_text(encoding="utf-8")
    # "</script" within a name would end the element that the data stand in
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    heading = escape(data["title"] or "Point clouds")
    for mark, value in (("TITLE", heading), ("SCRIPT", script), ("DATA", text)):
        before, found, after = page.partition(f">{mark}<" if mark != "SCRIPT" else "\nSCRIPT\n")
        assert found, mark
        page = before + found.replace(mark, value) + after
    return page


def page_data(scans: Sequence[Shown], title: str, theme: str) -> dict[str, Any]:
    """What the page's script reads, as plain values."""
    first = scans[0].points
    view = perspective(first, FRAMED_FOR)
    low, high = bounds(first)
    step = nice_length(max(float((high - low)[:2].max()), 1e-2) / 6)
    line = [np.floor(low[:2] / step) * step, np.ceil(high[:2] / step) * step]
    away = np.subtract(view.eye, view.target)
    distance = float(np.linalg.norm(away))
    return {
        "title": title,
        "theme": theme,
        "angle": view.angle,
        "origin": list(view.target),
        "radius": max(float(np.linalg.norm(high - low)), 1e-2),
        "view": {
            "target": [0.0, 0.0, 0.0],
            "distance": distance,
            "azimuth": float(np.degrees(np.arctan2(away[1], away[0]))),
            "elevation": float(np.degrees(np.arcsin(away[2] / distance))),
        },
        "grid": {
            "low": [*line[0].tolist(), float(low[2])],
            "high": line[1].tolist(),
            "step": step,
            "label": metres(step),
        },
        "edges": [list(edge) for edge in EDGES],
        "scans": [scan_data(scan) for scan in scans],
    }


def scan_data(scan: Shown) -> dict[str, Any]:
    """Points and colours of one scan, packed."""
    here = np.isfinite(scan.points).all(1)
    points = np.asarray(scan.points[here], np.float64)
    low = points.min(0, initial=np.inf) if len(points) else np.zeros(3)
    high = points.max(0, initial=-np.inf) if len(points) else np.zeros(3)
    step = np.maximum(high - low, 1e-6) / STEPS
    steps = np.round((points - low) / step).astype("<u2")
    return {
        "name": scan.name,
        "count": len(points),
        "low": low.tolist(),
        "step": step.tolist(),
        "spacing": spacing(points),
        "points": encoded(steps),
        "modes": [mode_data(name, colours, here) for name, colours in scan.colours.items()],
        "boxes": _boxes(scan),
    }


def mode_data(name: str, colours: Colours, here: np.ndarray) -> dict[str, Any]:
    """One colouring: an index into a table of colours, 0 = grey, or three bytes a point."""
    mode: dict[str, Any] = {"name": name, "title": colours.title}
    if colours.index is None:
        return mode | {"rgb": encoded(colours.rgb[here])}
    index = colours.index[here]
    if colours.ramp is not None:
        table = colours.ramp.table[np.linspace(0, 255, RAMP).round().astype(np.int64)]
        index = np.where(index < 0, -1, np.round(index * ((RAMP - 1) / 255)).astype(np.int64))
        ramp = {"title": colours.ramp.title, "low": colours.ramp.low, "high": colours.ramp.high}
        mode["ramp"] = ramp
    else:
        table = np.zeros((0, 3), np.uint8) if colours.swatches is None else colours.swatches
        if colours.names:
            counts = np.bincount(index[index >= 0], minlength=len(table))
            mode |= {"names": list(colours.names), "counts": counts.tolist()}
        elif colours.ids is not None:
            mode["ids"] = colours.ids.tolist()
    width = next(width for width in (1, 2, 4) if len(table) < 256**width)
    return mode | {
        "table": encoded(table),
        "width": width,
        "index": encoded((index + 1).astype(f"<u{width}")),
    }


def encoded(array: np.ndarray) -> str:
    """The bytes of an array, little endian, as base64."""
    return b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")


def _boxes(scan: Shown) -> list[dict[str, Any]]:
    if scan.boxes is None:
        return []
    colours: Sequence[Colour | None] = scan.box_colours or [None] * len(scan.boxes)
    if len(colours) != len(scan.boxes):
        raise ValueError(f"{len(colours)} box colours, {len(scan.boxes)} boxes")
    corners = np.round(box_corners(scan.boxes), 3).tolist()
    return [
        {"corners": box, "label": label} | ({} if colour is None else {"colour": list(colour)})
        for box, label, colour in zip(corners, scan.boxes.label, colours, strict=True)
    ]
