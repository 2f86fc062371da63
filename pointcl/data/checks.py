"""Files of points, labels and numbers to arrays, with every way they can be bad named."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from densecl.data.decode import UnreadableFileError
from densecl.errors import UsageError
from pointcl.sensors.pose import check_pose


@contextmanager
def at_start(fix: str = "mend the file") -> Iterator[None]:
    """What is unreadable here concerns more than one scan, so that skipping is no way out.

    Raises:
        UsageError: in the place of an UnreadableFileError.
    """
    try:
        yield
    except UnreadableFileError as error:
        raise UsageError(f"{error.path}: {error.reason}", fix=fix) from error


def require_part(folder: Path, fix: str) -> Path:
    """A folder that belongs to a data set.

    Raises:
        UsageError: it is not there; ``fix`` says what to do about it.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} does not exist", needed="a folder of that name", fix=fix)
    return folder


def read_bytes(path: Path) -> bytes:
    """Contents of a file.

    Raises:
        UnreadableFileError: missing or empty.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableFileError(path, error.strerror or str(error)) from error
    if not data:
        raise UnreadableFileError(path, "the file is empty")
    return data


def read_records(path: Path, columns: int, dtype: str = "<f4") -> np.ndarray:
    """(N, columns) of a file that is nothing but numbers, row by row.

    Raises:
        UnreadableFileError: missing, empty, or its size is no multiple of a row's.
    """
    data = read_bytes(path)
    row = columns * np.dtype(dtype).itemsize
    if len(data) % row:
        raise UnreadableFileError(
            path, f"{len(data)} bytes are no multiple of the {row} of a row; truncated?"
        )
    return np.frombuffer(data, dtype).reshape(-1, columns)


def read_rows(path: Path, columns: int | None = None) -> np.ndarray:
    """(N, columns) float64 of a text file of numbers, empty lines left out.

    Args:
        path: of the file.
        columns: numbers a line; None = as many as the first one has.

    Raises:
        UnreadableFileError: missing, empty, or a line is not that many finite numbers.
    """
    rows: list[list[float]] = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            row = [float(word) for word in words]
        except ValueError as error:
            raise UnreadableFileError(path, f"line {number}: {error}") from error
        columns = columns or len(row)
        if len(row) != columns or not np.isfinite(row).all():
            raise UnreadableFileError(
                path, f"line {number}: {line.strip()[:60]!r} is not {columns} finite numbers"
            )
        rows.append(row)
    return np.array(rows, np.float64).reshape(len(rows), columns or 0)


def read_text(path: Path) -> str:
    """Text of a file.

    Raises:
        UnreadableFileError: missing, empty, or no text.
    """
    try:
        return read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise UnreadableFileError(path, f"it is no text: {error.reason}") from error


def read_labels(path: Path, dtype: str, points: int) -> np.ndarray:
    """(N,) int64 raw ids, one per point.

    Raises:
        UnreadableFileError: missing, truncated, or another number than there are points.
    """
    raw = read_records(path, 1, dtype)[:, 0].astype(np.int64)
    if len(raw) != points:
        raise UnreadableFileError(path, f"{len(raw)} labels for a scan of {points} points")
    return raw


def require_finite(values: np.ndarray, path: Path, name: str) -> np.ndarray:
    """The values (N, ...).

    Raises:
        UnreadableFileError: some are NaN or infinite; ``name`` says what they are.
    """
    finite = np.isfinite(values).reshape(len(values), -1).all(1)
    if not finite.all():
        row = int(np.argmin(finite))
        many = int((~finite).sum())
        raise UnreadableFileError(
            path, f"{name}: {many} of {len(values)} rows are NaN or infinite, the first is {row}"
        )
    return values


def scale_intensity(values: np.ndarray, top: float, path: Path) -> np.ndarray:
    """(N,) float32 in [0, 1]: the sensor's values divided by ``top``.

    Raises:
        UnreadableFileError: a value is negative, above ``top``, or not finite.
    """
    require_finite(values, path, "intensity")
    if len(values) and not (values.min() >= 0 and values.max() <= top):
        raise UnreadableFileError(
            path, f"intensity from {values.min():g} to {values.max():g}, expected 0 to {top:g}"
        )
    return values.astype(np.float32) / np.float32(top)


def require_rigid(pose: np.ndarray, path: Path, name: str) -> np.ndarray:
    """The (4, 4) pose as float64.

    Raises:
        UnreadableFileError: it is no rotation and translation; ``name`` says which.
    """
    try:
        return check_pose(pose, name)
    except ValueError as error:
        raise UnreadableFileError(path, str(error)) from error
