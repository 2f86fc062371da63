"""Files of nothing but float32 rows: ``.bin``, as KITTI and nuScenes write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from densecl.data.decode import UnreadableFileError
from densecl.errors import UsageError
from pointcl.data.checks import read_bytes
from pointcl.data.formats.fields import Columns, Fields, column_names

KNOWN = {4: ("x", "y", "z", "intensity"), 5: ("x", "y", "z", "intensity", "ring")}
"""Layouts that are recognised without being told: KITTI's and nuScenes'."""

_WIDTHS = range(3, 21)
_SAMPLE = 1 << 20


def read_bin(path: Path, columns: Columns = None) -> Fields:
    """Columns of a file of little-endian float32 rows.

    Args:
        path: the file.
        columns: what the columns are; None = found out by ``infer_columns``.

    Raises:
        UnreadableFileError: missing, empty, or no whole number of rows.
        UsageError: the columns are not given and not clear.
    """
    values = _values(path)
    roles = column_names(columns) or infer_columns(path, values)
    if len(values) % len(roles):
        raise UnreadableFileError(
            path,
            f"{len(values)} float32 values are no whole number of rows of {len(roles)} columns; "
            "it is truncated, or data.columns is wrong",
        )
    rows = values.reshape(-1, len(roles))
    return {role or f"column {i}": rows[:, i] for i, role in enumerate(roles)}


def infer_columns(path: Path, values: np.ndarray | None = None) -> tuple[str, ...]:
    """Whether a file has KITTI's four or nuScenes' five columns.

    A width is right when its columns differ: cut at a wrong width, each column mixes all of them.
    The width that explains most of the values' variance must be 4 or 5, fit the size of the file,
    and have a plausible intensity and ring.

    Raises:
        UnreadableFileError: missing or empty.
        UsageError: neither is clear.
    """
    values = _values(path) if values is None else values
    fitting = [width for width in _WIDTHS if len(values) % width == 0]
    explained = {width: _explained(values[: _SAMPLE // width * width], width) for width in fitting}
    best = max(explained.values(), default=0.0)
    # a multiple of the true width explains as much as the width itself
    width = next((width for width in fitting if explained[width] > 0.9 * best), 0)
    if width in KNOWN and best > 0.05 and _plausible(values.reshape(-1, width)):
        return KNOWN[width]
    sizes = ", ".join(map(str, fitting)) or "no number from 3 to 20"
    raise UsageError(
        f"{path}: what its columns are is not clear; its size fits {sizes} of them",
        needed="the meaning of each column",
        fix='set data.columns, e.g. "xyzi", or "xyzrgb"; "_" leaves one out',
    )


def _values(path: Path) -> np.ndarray:
    data = read_bytes(path)
    if len(data) % 4:
        raise UnreadableFileError(path, f"{len(data)} bytes are no whole number of float32 values")
    return np.frombuffer(data, "<f4")


def _explained(values: np.ndarray, width: int) -> float:
    """Share of the variance of the magnitudes that lies between columns, not within them."""
    with np.errstate(over="ignore", invalid="ignore"):
        size = np.log1p(np.abs(values.reshape(-1, width)).astype(np.float64))
    size = size[np.isfinite(size).all(1)]
    total = float(size.var()) if len(size) else 0.0
    return float(size.mean(0).var()) / total if total else 0.0


def _plausible(rows: np.ndarray) -> bool:
    """Whether xyz, intensity and ring are within what sensors give."""
    rows = rows[np.isfinite(rows).all(1)]
    if not len(rows) or np.abs(rows[:, :3]).max() > 1e4:
        return False
    if rows[:, 3].min() < 0 or rows[:, 3].max() > 65535:
        return False
    ring = rows[:, 4] if rows.shape[1] == 5 else np.zeros(1)
    return bool(ring.min() >= 0 and ring.max() < 256 and not (ring % 1).any())
