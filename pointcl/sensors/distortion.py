"""Lens distortion: where a lens moves the ideal image of a direction, and how far that holds."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.polynomial import Polynomial

from pointcl.sensors.camera import Distortion

_STEPS = 50
_CLOSE = 1e-12


def distort(plane: np.ndarray, distortion: Distortion) -> np.ndarray:
    """Move points of the plane at depth 1 to where the lens shows them.

    Args:
        plane: (..., 2) float, (right, down) at depth 1, the pixels of a camera with the
            identity as its intrinsics.
        distortion: (k1, k2, p1, p2[, k3[, k4, k5, k6]]).

    Returns:
        (..., 2) float64. Points farther out than ``fold_radius`` come out NaN: there the
        polynomial turns back and would show what lies far beside the camera inside the picture.

    Raises:
        ValueError: not 4, 5 or 8 coefficients, or one is not finite.

    Source: Brown 1966 with the rational radial part of OpenCV's calib3d.
    """
    k1, k2, p1, p2, k3, k4, k5, k6 = _coefficients(distortion)
    x, y = np.moveaxis(np.asarray(plane, np.float64), -1, 0)
    s = x * x + y * y
    s = np.where(s <= fold_radius(distortion) ** 2, s, np.nan)
    radial = (1 + s * (k1 + s * (k2 + s * k3))) / (1 + s * (k4 + s * (k5 + s * k6)))
    return np.stack(
        [
            x * radial + 2 * p1 * x * y + p2 * (s + 2 * x * x),
            y * radial + p1 * (s + 2 * y * y) + 2 * p2 * x * y,
        ],
        -1,
    )


def undistort(seen: np.ndarray, distortion: Distortion) -> np.ndarray:
    """The inverse of ``distort``, (..., 2) -> (..., 2) float64, by Newton's method.

    NaN where the lens shows nothing: beyond the image of ``fold_radius``.

    Raises:
        ValueError: as ``distort``.
    """
    seen = np.asarray(seen, np.float64)
    out = np.zeros_like(seen)
    step = 1e-6
    limit = fold_radius(distortion)
    for _ in range(_STEPS):
        # one-sided towards the axis, so that no probe leaves the disc in which the lens is known
        side = np.where(out > 0, -step, step)
        here = distort(out, distortion)
        gap = seen - here
        if not (np.abs(gap) > _CLOSE).any():
            break
        columns = []
        for axis in range(2):
            probe = out.copy()
            probe[..., axis] += side[..., axis]
            columns.append((distort(probe, distortion) - here) / side[..., axis, None])
        (a, c), (b, d) = (np.moveaxis(column, -1, 0) for column in columns)
        with np.errstate(divide="ignore", invalid="ignore"):
            move = np.stack([d * gap[..., 0] - b * gap[..., 1], a * gap[..., 1] - c * gap[..., 0]])
            out = out + np.moveaxis(move / (a * d - b * c), 0, -1)
            # back onto the disc: what has no origin stays at its rim and fails the check below
            radius = np.hypot(out[..., 0], out[..., 1])[..., None]
            out = np.where(radius > limit, out * ((1 - 1e-9) * limit / radius), out)
    found = np.abs(distort(out, distortion) - seen).max(-1, initial=0) < 1e-9
    return np.where(found[..., None], out, np.nan)


@lru_cache(maxsize=256)
def fold_radius(distortion: Distortion) -> float:
    """Distance from the axis, at depth 1, up to which the radial part grows; may be infinite.

    The polynomial was fitted inside the picture. With the usual barrel distortion (k1 < 0) it
    has a maximum outside, beyond which it falls again and, farther out, passes through the
    picture a second time.

    Raises:
        ValueError: as ``distort``.
    """
    k1, k2, _, _, k3, k4, k5, k6 = _coefficients(distortion)
    top, bottom = Polynomial([1, k1, k2, k3]), Polynomial([1, k4, k5, k6])
    # d/dr of r top(s) / bottom(s), s = r^2, over what is positive; and the poles of the quotient
    slope = top * bottom + 2 * Polynomial([0, 1]) * (top.deriv() * bottom - top * bottom.deriv())
    roots = np.concatenate([slope.trim().roots(), bottom.trim().roots()])
    real = roots.real[(np.abs(roots.imag) <= 1e-9 * np.abs(roots)) & (roots.real > 0)]
    return float(np.sqrt(real.min(initial=np.inf)))


@lru_cache(maxsize=256)
def _coefficients(distortion: Distortion) -> tuple[float, ...]:
    if len(distortion) not in (4, 5, 8) or not np.isfinite(distortion).all():
        raise ValueError(f"distortion needs 4, 5 or 8 finite coefficients, got {distortion}")
    return tuple(float(k) for k in distortion) + (0.0,) * (8 - len(distortion))
