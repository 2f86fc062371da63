"""Colours of points: by class, segment, height, intensity, features, or as the camera saw them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from pointcl.data.scan import IGNORE, Scan

if TYPE_CHECKING:
    from densecl.viz.features import PrincipalColours

GREY = (150, 150, 150)
"""Points that belong to nothing: ignored classes, no segment, no value."""

MAPS = {
    "turbo": ("COLORMAP_TURBO", 20, 240),
    "viridis": ("COLORMAP_VIRIDIS", 36, 255),
    "magma": ("COLORMAP_MAGMA", 20, 240),
}
"""Name of a ramp -> OpenCV's table, and its part that is seen on light and dark paper."""

GOLDEN = 0.6180339887498949
"""Steps of this share of a circle never come close to an angle that was taken just before."""

PLASTIC = 0.7548776662466927
"""The same for pairs of numbers, with its square."""


@dataclass(frozen=True)
class Ramp:
    """The colour bar of a quantity.

    Attributes:
        title: what and in which unit, e.g. "height (m)".
        low, high: the values at both ends of the bar; those beyond are clipped.
        table: (256, 3) uint8, from low to high.
    """

    title: str
    low: float
    high: float
    table: np.ndarray


@dataclass(frozen=True)
class Colours:
    """Colours of points and what they mean.

    Attributes:
        rgb: (N, 3) uint8.
        title: what is shown, e.g. "label".
        names: what the colours stand for, for the legend; those that occur, most points first.
        swatches: (len(names), 3) uint8, their colours.
        counts: points of each name.
        index: (N,) int64 row of ``swatches``, or of the ramp's table, of each point, -1 = grey;
            None where there is neither.
        ids: (len(swatches),) int64, the segments that the swatches stand for.
        ramp: the colour bar, for quantities.
    """

    rgb: np.ndarray
    title: str = ""
    names: tuple[str, ...] = ()
    swatches: np.ndarray | None = None
    counts: tuple[int, ...] = ()
    index: np.ndarray | None = None
    ids: np.ndarray | None = None
    ramp: Ramp | None = None

    def __len__(self) -> int:
        return len(self.rgb)


def by_label(
    label: np.ndarray,
    palette: np.ndarray,
    classes: Sequence[str] = (),
    *,
    ignore: int = IGNORE,
    title: str = "label",
) -> Colours:
    """Each class in its colour of the palette, ``ignore`` in grey.

    Args:
        label: (N,) int class ids.
        palette: (L, 3) uint8.
        classes: L names for the legend; none = "0", "1", ...

    Raises:
        ValueError: an id beyond the palette, or another number of names than colours.
    """
    palette = np.asarray(palette, np.uint8)
    names = tuple(classes) or tuple(map(str, range(len(palette))))
    if len(names) != len(palette):
        raise ValueError(f"{len(names)} class names, {len(palette)} colours")
    label = np.asarray(label, np.int64)
    known = label != ignore
    if known.any() and not 0 <= label[known].min() <= label[known].max() < len(palette):
        given = f"{label[known].min()} to {label[known].max()}"
        raise ValueError(f"labels {given}, but the palette has {len(palette)} colours")
    index = np.where(known, label, -1)
    counts = np.bincount(label[known], minlength=len(palette))
    return _from_table(index, palette, names, counts, title)


def by_segment(ids: np.ndarray, *, title: str = "segment") -> Colours:
    """A colour of its own for each id, the same in every picture; -1 in grey.

    Args:
        ids: (N,) int; any ids from 0 on.
    """
    ids = np.asarray(ids, np.int64)
    some, index = np.unique(np.where(ids < 0, -1, ids), return_inverse=True)
    missing = int(len(some) > 0 and some[0] < 0)
    index, some = index.reshape(-1) - missing, some[missing:]
    rgb = np.concatenate([segment_colours(some), np.array([GREY], np.uint8)])[index]
    swatches = segment_colours(some)
    return Colours(rgb, f"{title}: {len(some)}", swatches=swatches, index=index, ids=some)


def segment_colours(ids: np.ndarray) -> np.ndarray:
    """(K, 3) uint8: vivid colours; ids that follow each other differ the most.

    The hue of id k is k golden sections of the circle on; lightness and saturation change with
    every id too, so that hues which come close after many ids still differ.
    """
    k = np.asarray(ids, np.float64).reshape(-1, 1)
    hue = 12 * (k * GOLDEN % 1)
    light = 0.42 + 0.22 * (k * PLASTIC % 1)
    vivid = (0.55 + 0.4 * (k * PLASTIC**2 % 1)) * np.minimum(light, 1 - light)
    # hue, saturation, lightness -> red, green, blue
    corner = (hue + np.array([0.0, 8.0, 4.0])) % 12
    rgb = light - vivid * np.clip(np.minimum(corner - 3, 9 - corner), -1, 1)
    return (rgb * 255).round().astype(np.uint8)


def by_value(
    values: np.ndarray,
    title: str,
    *,
    ramp: str = "viridis",
    clip: tuple[float, float] = (1.0, 99.0),
    limits: tuple[float, float] | None = None,
) -> Colours:
    """A quantity on a colour ramp; values that are not finite are grey.

    Args:
        values: (N,) float.
        title: what and in which unit.
        ramp: a name of ``MAPS``.
        clip: percentiles at the ends of the ramp.
        limits: values at its ends instead, so that several pictures share one ramp.
    """
    values = np.asarray(values, np.float64)
    known = np.isfinite(values)
    if limits is None:
        ends = np.percentile(values[known], clip) if known.any() else (0.0, 1.0)
        limits = float(ends[0]), float(ends[1])
    low, high = limits
    table = ramp_table(ramp)
    share = (np.where(known, values, low) - low) / max(high - low, 1e-12)
    index = np.where(known, np.clip(share * 255 + 0.5, 0, 255).astype(np.int64), -1)
    rgb = np.concatenate([table, np.array([GREY], np.uint8)])[index]
    return Colours(rgb, title, index=index, ramp=Ramp(title, low, high, table))


def by_height(points: np.ndarray, **options: object) -> Colours:
    """z of points (N, 3) on a ramp; options as ``by_value``'s."""
    options = {"ramp": "turbo", "clip": (1.0, 98.0)} | options
    return by_value(np.asarray(points)[:, 2], "height (m)", **options)  # type: ignore[arg-type]


def by_intensity(intensity: np.ndarray, **options: object) -> Colours:
    """Intensity (N,) on a ramp; options as ``by_value``'s."""
    return by_value(intensity, "intensity", **options)  # type: ignore[arg-type]


def by_features(
    features: np.ndarray, basis: PrincipalColours | None = None, *, title: str = "features"
) -> Colours:
    """Features (N, C) by their first three principal components.

    Args:
        features: one row a point.
        basis: fitted elsewhere, so that scans share their colours; None = fitted here.
        title: for the legend.
    """
    import torch

    from densecl.viz.features import PrincipalColours

    rows = torch.as_tensor(features)
    basis = PrincipalColours.fit(rows) if basis is None else basis
    return Colours(basis.apply(rows), title)


def by_rgb(colour: np.ndarray) -> Colours:
    """The colours (N, 3) uint8 themselves; they need no legend."""
    return Colours(np.asarray(colour, np.uint8))


def ramp_table(name: str) -> np.ndarray:
    """(256, 3) uint8 RGB of a ramp of ``MAPS``.

    Raises:
        ValueError: there is no such ramp.
    """
    if name not in MAPS:
        raise ValueError(f"no ramp {name!r}, only {', '.join(MAPS)}")
    table, first, last = MAPS[name]
    steps = np.linspace(first, last, 256).round().astype(np.uint8).reshape(-1, 1)
    return np.ascontiguousarray(cv2.applyColorMap(steps, getattr(cv2, table))[:, 0, ::-1])


def modes(
    scan: Scan,
    *,
    palette: np.ndarray | None = None,
    classes: Sequence[str] = (),
    features: Mapping[str, np.ndarray] | None = None,
) -> dict[str, Colours]:
    """Every way to colour a scan that its data allow, the most telling first.

    Args:
        scan: the cloud.
        palette: (L, 3) uint8 of its classes; None = labels are coloured like segments.
        classes: L names.
        features: name -> (N, C) rows of a network, shown by their principal components.
    """
    found: dict[str, Colours] = {}
    if scan.label is not None and palette is not None:
        found["label"] = by_label(scan.label, palette, classes)
    elif scan.label is not None:
        found["label"] = by_segment(np.where(scan.label == IGNORE, -1, scan.label), title="label")
    for name, rows in (features or {}).items():
        found[name] = by_features(rows, title=name)
    for name, ids in scan.regions.items():
        found[name] = by_segment(ids, title=name)
    if scan.instance is not None:
        found["instance"] = by_segment(scan.instance, title="instance")
    if scan.colour is not None:
        found["colour"] = by_rgb(scan.colour)
    found["height"] = by_height(scan.points)
    if scan.intensity is not None:
        found["intensity"] = by_intensity(scan.intensity)
    return found


def _from_table(
    index: np.ndarray, table: np.ndarray, names: tuple[str, ...], counts: np.ndarray, title: str
) -> Colours:
    """Keep the rows of the table that occur, most points first."""
    order = np.argsort(-counts, kind="stable")
    order = order[counts[order] > 0]
    place = np.full(len(table) + 1, -1)
    place[order] = np.arange(len(order))
    return Colours(
        np.concatenate([table, np.array([GREY], np.uint8)])[index],
        title,
        tuple(names[row] for row in order),
        table[order],
        tuple(int(counts[row]) for row in order),
        place[index],
    )
