"""One point file as arrays on the scales that a scan uses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from densecl.data.decode import UnreadableFileError
from densecl.errors import UsageError
from pointcl.data.formats.fields import COLOUR, NORMAL, POSITION, Columns, Fields, assign

FAR = 4096.0
"""Metres from the origin from which on float32 is coarser than a quarter of a millimetre."""


@dataclass
class Cloud:
    """What one file holds, in the order of the file.

    Attributes:
        points: (N, 3) float32 metres; the coordinates of the file are ``points + offset``.
        offset: (3,) float64 whole metres.
        intensity: (N,) float32 in [0, 1].
        colour: (N, 3) uint8 RGB.
        normal: (N, 3) float32 of unit length, or zero where the file has zeros.
        ring: (N,) int16.
        time: (N,) float32 seconds.
        label: (N,) int64 as the file has it.
        instance: (N,) int64 as the file has it.
        used: fields of the file that were read.
        unused: fields of the file that mean nothing here.
    """

    points: np.ndarray
    offset: np.ndarray
    intensity: np.ndarray | None = None
    colour: np.ndarray | None = None
    normal: np.ndarray | None = None
    ring: np.ndarray | None = None
    time: np.ndarray | None = None
    label: np.ndarray | None = None
    instance: np.ndarray | None = None
    used: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.points)


def make_cloud(
    fields: Fields, path: Path, columns: Columns = None, intensity_scale: float | None = None
) -> Cloud:
    """Bring the fields of a file to a scan's types and scales.

    Args:
        fields: name in the file -> (N,) values.
        path: for messages.
        columns: a mapping from names in the file to roles, see ``assign``.
        intensity_scale: see ``scale_intensity``.

    Raises:
        UnreadableFileError: no points, columns of different lengths, a label that is no whole
            number.
        UsageError: fields that are not clear, an intensity of an unknown scale.
    """
    found, unused = assign(fields, columns, path)
    missing = [axis for axis in POSITION if axis not in found]
    if missing:
        names = ", ".join(fields) or "nothing"
        raise UnreadableFileError(path, f"no field {missing[0]!r}; it has {names}")
    count = len(found["x"])
    if count == 0:
        raise UnreadableFileError(path, "it has no points")
    odd = [role for role, values in found.items() if values.shape != (count,)]
    if odd:
        shape = found[odd[0]].shape
        raise UnreadableFileError(path, f"{odd[0]} of shape {shape} for {count} points")
    points, offset = localise(_stack(found, POSITION))
    if not np.isfinite(points).all(1).any():
        raise UnreadableFileError(path, f"none of its {count} points is finite")
    cloud = Cloud(points, offset, unused=unused, used=tuple(n for n in fields if n not in unused))
    if "intensity" in found:
        cloud.intensity = scale_intensity(found["intensity"], path, intensity_scale)
    if set(COLOUR) <= set(found):
        cloud.colour = scale_colour(_stack(found, COLOUR), path)
    if set(NORMAL) <= set(found):
        cloud.normal = _unit(_stack(found, NORMAL).astype(np.float32))
    if "ring" in found:
        cloud.ring = whole(found["ring"], "ring", path).astype(np.int16)
    if "time" in found:
        cloud.time = found["time"].astype(np.float32)
    for role in ("label", "instance"):
        if role in found:
            setattr(cloud, role, whole(found[role], role, path))
    return cloud


def localise(xyz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (N, 3) as float32 metres, and the (3,) whole metres that were subtracted.

    Only an axis whose median lies farther than 4096 m from the origin is moved: a map in UTM keeps
    its heights, a scan in the frame of its sensor stays as it is.
    """
    offset = np.zeros(3)
    sample = xyz[:: max(1, len(xyz) // 65536)].astype(np.float64)
    sample = sample[np.isfinite(sample).all(1)]
    if len(sample) and np.abs(sample).max() > FAR:
        middle = np.median(sample, axis=0)
        far = np.abs(middle) > FAR
        offset[far] = np.floor(middle[far])
    if offset.any():
        xyz = xyz - offset
    return np.ascontiguousarray(xyz, np.float32), offset


def scale_intensity(values: np.ndarray, path: Path, scale: float | None) -> np.ndarray:
    """Intensities as float32 in [0, 1].

    Args:
        values: (N,) as the file has them.
        path: for messages.
        scale: the value that becomes 1; larger ones are cut to it, negative ones to 0. None: the
            largest number of the type for 8 and 16 unsigned bits, else 1, and nothing is cut.

    Raises:
        UsageError: no scale is given and the values leave [0, 1].
    """
    if scale is not None:
        return np.clip(values / np.float32(scale), 0, 1).astype(np.float32)
    if values.dtype in (np.uint8, np.uint16):
        return values / np.float32(np.iinfo(values.dtype).max)
    finite = values[np.isfinite(values)]
    if len(finite) and (finite.min() < 0 or finite.max() > 1):
        raise UsageError(
            f"{path}: intensities from {finite.min():g} to {finite.max():g}",
            needed="the value that stands for full intensity",
            fix="set data.intensity_scale, e.g. to 255",
        )
    return values.astype(np.float32)


def scale_colour(values: np.ndarray, path: Path) -> np.ndarray:
    """Colours (N, 3) as uint8.

    Integers of 16 bits are divided by 257, unless none is above 255: many writers put 8-bit values
    there. Floats are in [0, 1], or in [0, 255] as soon as one is above 1.

    Raises:
        UnreadableFileError: values outside these ranges, or not finite.
    """
    if values.dtype == np.uint8:
        return values
    if not np.isfinite(values).all():
        raise UnreadableFileError(path, "colours that are not finite")
    high = float(values.max(initial=0))
    if values.min(initial=0) < 0 or high > 65535 or (values.dtype.kind == "f" and high > 255):
        low = float(values.min(initial=0))
        raise UnreadableFileError(path, f"colours from {low:g} to {high:g}, no RGB scale")
    factor = 1.0
    if values.dtype.kind == "f" and high <= 1:
        factor = 255.0
    elif high > 255:
        factor = 1 / 257
    return np.rint(values * factor).astype(np.uint8)


def whole(values: np.ndarray, role: str, path: Path) -> np.ndarray:
    """Values as int64.

    Raises:
        UnreadableFileError: one is no whole number.
    """
    if values.dtype.kind in "iub":
        return values.astype(np.int64)
    if values.dtype.kind != "f" or not np.isfinite(values).all() or (values % 1).any():
        raise UnreadableFileError(path, f"{role} that is no whole number")
    return values.astype(np.int64)


def _unit(normal: np.ndarray) -> np.ndarray:
    """Normals of unit length; those that are so already keep their bits."""
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    off = (np.abs(length - 1) > 1e-3) & (length > 0)
    return np.where(off, normal / np.where(off, length, 1), normal)


def _stack(fields: Fields, roles: tuple[str, ...]) -> np.ndarray:
    return np.stack([fields[role] for role in roles], axis=1)
