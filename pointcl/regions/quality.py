"""How well the segments of a cloud keep to labels and objects."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from densecl.regions.segments import Segments
from pointcl.data.scan import IGNORE, Scan
from pointcl.regions.foreground import foreground_ids

LEAST = 20
"""Points of the smallest object that counts, as many as the smallest foreground segment has."""

FRAGMENT = 0.1


@dataclass(frozen=True)
class CloudQuality:
    """The measures of one scan; NaN where there is nothing to measure.

    Attributes:
        segments: number of segments.
        inside: share of the finite points that are in a segment.
        label_purity: share of the labelled points in segments whose label is the most frequent of
            their segment.
        objects: number of objects of ``LEAST`` points or more.
        covered: share of the objects' points that are in a segment, mean over objects.
        best_cover: share of an object's points that its best segment holds, mean over objects.
        best_overlap: intersection over union of an object and its best segment, mean over objects.
        fragments: segments that hold a tenth of an object or more, mean over objects.
        object_purity: share of the points of segments that meet an object which belong to what
            most of their segment belongs to, one object or none.
        foreground_recall: share of the objects' points in foreground segments, mean over objects.
        foreground_precision: share of the points of foreground segments that lie on an object.
    """

    segments: int
    inside: float
    label_purity: float
    objects: int
    covered: float
    best_cover: float
    best_overlap: float
    fragments: float
    object_purity: float
    foreground_recall: float
    foreground_precision: float


def measure_cloud(
    ids: np.ndarray,
    *,
    label: np.ndarray | None = None,
    objects: np.ndarray | None = None,
    foreground: np.ndarray | None = None,
    finite: np.ndarray | None = None,
    ignore: int = IGNORE,
    least: int = LEAST,
) -> CloudQuality:
    """All measures of one scan.

    Args:
        ids: (N,) segments, -1 = none.
        label: (N,) class ids; points of ``ignore`` count in nothing that labels measure.
        objects: (N,) ids of objects, -1 = none.
        foreground: (N,) bool, the points of foreground segments.
        finite: (N,) bool, the points that count at all; None = all.
        ignore: label that is none.
        least: points of the smallest object that counts; smaller ones count nowhere.

    Raises:
        ValueError: lengths disagree.
    """
    for name, rows in (("label", label), ("objects", objects), ("foreground", foreground)):
        if rows is not None and rows.shape != ids.shape:
            raise ValueError(f"{name} {rows.shape} for ids {ids.shape}")
    there = np.ones(len(ids), bool) if finite is None else finite
    found: dict[str, Any] = {f.name: float("nan") for f in fields(CloudQuality)}
    found["segments"] = len(np.unique(ids[there & (ids >= 0)]))
    found["inside"] = _share(ids[there] >= 0)
    if label is not None:
        known = there & (label != ignore) & (ids >= 0)
        table = _table(ids[known], label[known])[0]
        found["label_purity"] = _ratio(table.max(1).sum() if table.size else 0, table.sum())
    found["objects"] = 0
    if objects is not None:
        found |= _of_objects(ids[there], objects[there], least)
        if foreground is not None:
            found |= _of_foreground(foreground[there], objects[there], least)
    return CloudQuality(**found)


def measure_scan(scan: Scan, segments: Segments, threshold: float = 0.5) -> CloudQuality:
    """All measures of the segments of a scan, with what it knows of labels and objects.

    Args:
        scan: with or without labels, instances, boxes.
        segments: of it.
        threshold: least score of a foreground segment.
    """
    return measure_cloud(
        segments.ids,
        label=scan.label,
        objects=objects_of(scan),
        foreground=foreground_ids(segments.ids, segments.scores["foreground"], threshold) >= 0,
        finite=np.isfinite(scan.points).all(1),
    )


def objects_of(scan: Scan) -> np.ndarray | None:
    """(N,) objects of a scan, -1 = none: its instances, or else the boxes that points lie in.

    Where it has both, those instances that have a box, since walls and trees may be instances too.
    """
    if scan.instance is not None:
        if scan.boxes is None or (scan.boxes.instance < 0).any():
            return scan.instance
        return np.where(np.isin(scan.instance, scan.boxes.instance), scan.instance, -1)
    if scan.boxes is not None:
        return scan.boxes.contain(scan.points)
    return None


def _of_objects(ids: np.ndarray, objects: np.ndarray, least: int) -> dict[str, float]:
    table, segment, number = _table(ids, np.where(objects < 0, -1, objects))
    size = table.sum(0)
    counts = (number >= 0) & (size >= least)
    found: dict[str, float] = {"objects": int(counts.sum())}
    if not counts.any():
        return found
    used = counts | (number < 0)
    parts = table[segment >= 0][:, used]
    inside, whole = parts[:, counts[used]], size[counts]
    best = inside.max(0, initial=0)
    union = parts.sum(1)[:, None] + whole - inside
    overlap = np.where(inside > 0, inside / np.maximum(union, 1), 0.0).max(0, initial=0.0)
    met = parts[(inside > 0).any(1)]
    return found | {
        "covered": float((inside.sum(0) / whole).mean()),
        "best_cover": float((best / whole).mean()),
        "best_overlap": float(overlap.mean()),
        "fragments": float((inside >= FRAGMENT * whole).sum(0).mean()),
        "object_purity": _ratio(met.max(1).sum() if met.size else 0, met.sum()),
    }


def _of_foreground(foreground: np.ndarray, objects: np.ndarray, least: int) -> dict[str, float]:
    number, of, size = np.unique(
        np.where(objects < 0, -1, objects), return_inverse=True, return_counts=True
    )
    counts = (number >= 0) & (size >= least)
    if not counts.any():
        return {}
    hit = np.bincount(of.reshape(-1), foreground, minlength=len(number))
    return {
        "foreground_recall": float((hit / size)[counts].mean()),
        "foreground_precision": _ratio(hit[counts].sum(), hit[counts | (number < 0)].sum()),
    }


def _table(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(A, B) int64 points that an id of ``a`` and one of ``b`` share, and the ids."""
    rows, row = np.unique(a, return_inverse=True)
    columns, column = np.unique(b, return_inverse=True)
    cell = row.reshape(-1) * max(len(columns), 1) + column.reshape(-1)
    counts = np.bincount(cell, minlength=len(rows) * len(columns))
    return counts.reshape(len(rows), len(columns)), rows, columns


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")


def _share(mask: np.ndarray) -> float:
    return float(mask.mean()) if len(mask) else float("nan")
