"""A contact sheet of clouds: a scan a row, its colourings beside each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from densecl.viz.tile import grid
from pointcl.viz.cameras import Viewpoint
from pointcl.viz.html import Shown
from pointcl.viz.paper import Colour, paper
from pointcl.viz.scan import draw_scan, viewpoint


def scan_sheet(
    scans: Sequence[Shown],
    names: Sequence[str] | None = None,
    *,
    view: str | Viewpoint = "perspective",
    size: tuple[int, int] = (400, 600),
    background: str | Colour = "light",
    gap: int = 6,
) -> np.ndarray:
    """Several scans in several colourings, each scan from one viewpoint.

    Args:
        scans: what to show, at least one.
        names: colourings, a column each; None = all of the first scan.
        view: see ``draw_scan``.
        size: (H, W) of each picture.
        background: see ``draw_scan``.
        gap: pixels between pictures.

    Returns:
        (H', W', 3) uint8, RGB.

    Raises:
        ValueError: there is no scan, or one lacks a colouring.
    """
    if not scans:
        raise ValueError("a sheet shows at least one scan")
    columns = list(scans[0].colours) if names is None else list(names)
    rows = []
    for scan in scans:
        missing = [name for name in columns if name not in scan.colours]
        if missing:
            raise ValueError(f"{scan.name} has no {missing[0]!r}, only {', '.join(scan.colours)}")
        here = viewpoint(view, scan.points, size)
        rows.append(
            [
                draw_scan(
                    scan.points,
                    scan.colours[name],
                    view=here,
                    size=size,
                    background=background,
                    title=f"{scan.name}: {name}" if scan.name else name,
                    boxes=scan.boxes,
                    box_colours=scan.box_colours,
                )
                for name in columns
            ]
        )
    sheet = grid(rows, gap=gap)
    between = (sheet == 255).all(2) if background != "light" else np.zeros(sheet.shape[:2], bool)
    sheet[between] = paper(background).ground
    return sheet
