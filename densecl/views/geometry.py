"""Maps between the coordinates of a view and the canonical frame it was cut from.

Coordinates are continuous. In 2D a point is (x, y) and pixel (row r, column c) has its centre at
(c + 0.5, r + 0.5); in 3D it is (x, y, z). ``to_canonical`` goes from the view to the source,
``from_canonical`` back. Arithmetic is element-wise, never a matrix product: autocast and TF32
would round a product to a few pixels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor


class Geometry(ABC):
    """A map of points; unbatched, or with one set of parameters per sample.

    Points are (..., d) when the parameters are unbatched and (B, N, d) when they are batched.
    Integer points are accepted; the result is at least float32.
    """

    @abstractmethod
    def to_canonical(self, points: Tensor) -> Tensor:
        """View coordinates to canonical ones; same shape."""

    @abstractmethod
    def from_canonical(self, points: Tensor) -> Tensor:
        """Canonical coordinates to view ones; same shape.

        Raises:
            ValueError: the map has no inverse.
        """

    @abstractmethod
    def to(self, device: torch.device | str) -> Geometry:
        """The same map with its parameters on ``device``."""

    @classmethod
    @abstractmethod
    def stack(cls, items: Sequence[Geometry]) -> Geometry:
        """B unbatched maps of one kind as one batched map."""

    def compose(self, other: Geometry) -> Geometry:
        """This map first, then ``other``: ``other.to_canonical(self.to_canonical(points))``.

        So a crop of a crop is ``inner.compose(outer)``.
        """
        return Chain((*_parts(self), *_parts(other)))


class Affine(Geometry):
    """``canonical = linear @ point + translation``, d = 2 or 3; rigid maps are a special case.

    Args:
        matrix: (d, d+1) or (B, d, d+1), ``[linear | translation]``.

    Raises:
        ValueError: wrong shape, not finite, or the linear part is singular.
    """

    def __init__(self, matrix: Tensor) -> None:
        matrix = torch.as_tensor(matrix)
        if matrix.ndim not in (2, 3) or matrix.shape[-1] != matrix.shape[-2] + 1:
            raise ValueError(f"matrix must be (d, d+1) or (B, d, d+1), got {tuple(matrix.shape)}")
        if matrix.shape[-2] not in (2, 3):
            raise ValueError(f"d must be 2 or 3, got {matrix.shape[-2]}")
        if not matrix.dtype.is_floating_point or matrix.dtype in (torch.float16, torch.bfloat16):
            matrix = matrix.float()
        _refuse_singular(matrix.detach())
        self.matrix = matrix

    @classmethod
    def _unchecked(cls, matrix: Tensor) -> Affine:
        """Skip the check of ``__init__``: it would wait for the device at every transfer."""
        self = cls.__new__(cls)
        self.matrix = matrix
        return self

    def __repr__(self) -> str:
        return f"Affine({self.matrix.tolist()})"

    @property
    def linear(self) -> Tensor:
        """(d, d) or (B, d, d): how far, and in which direction, one step in the view goes."""
        return self.matrix[..., :-1]

    @property
    def translation(self) -> Tensor:
        """(d,) or (B, d): where the view's origin lies."""
        return self.matrix[..., -1]

    @classmethod
    def identity(cls, d: int = 2) -> Affine:
        """The map that changes nothing."""
        return cls(torch.eye(d, d + 1))

    @classmethod
    def from_parts(cls, linear: Tensor, translation: Tensor) -> Affine:
        """From a (..., d, d) linear part, e.g. a rotation, and a (..., d) translation."""
        return cls(torch.cat((linear, translation.unsqueeze(-1)), dim=-1))

    @classmethod
    def from_crop(
        cls,
        box: Sequence[float],
        size: tuple[int, int],
        hflip: bool = False,
        vflip: bool = False,
    ) -> Affine:
        """The geometry of a crop that is resized and then, perhaps, mirrored.

        Args:
            box: (x0, y0, x1, y1) in source pixels; may be fractional and may leave the image.
            size: (H, W) of the view.
            hflip: mirrored left-right; view x = 0 is then the right edge of the box.
            vflip: mirrored top-bottom.

        Raises:
            ValueError: the box or the view is empty.
        """
        x0, y0, x1, y1 = (float(value) for value in box)
        height, width = size
        if not (x1 > x0 and y1 > y0 and height > 0 and width > 0):
            raise ValueError(f"empty crop: box {tuple(box)}, view size {tuple(size)}")
        scale_x, scale_y = (x1 - x0) / width, (y1 - y0) / height
        if hflip:
            x0, scale_x = x1, -scale_x
        if vflip:
            y0, scale_y = y1, -scale_y
        return cls._unchecked(torch.tensor([[scale_x, 0.0, x0], [0.0, scale_y, y0]]))

    def to_canonical(self, points: Tensor) -> Tensor:
        """View coordinates to canonical ones, (..., d) or (B, N, d)."""
        return _apply(self.matrix, points)

    def from_canonical(self, points: Tensor) -> Tensor:
        """Canonical coordinates to view ones, (..., d) or (B, N, d)."""
        return _apply(self.invert().matrix, points)

    def invert(self) -> Affine:
        """The map the other way round."""
        # adjugate over determinant: no device library, and exact for crops
        linear = self.linear
        if linear.shape[-1] == 2:
            (a, b), (c, d) = (row.unbind(-1) for row in linear.unbind(-2))
            adjugate = torch.stack((d, -b, -c, a), dim=-1).unflatten(-1, (2, 2))
            determinant = a * d - b * c
        else:
            r0, r1, r2 = linear.unbind(-2)
            columns = [torch.linalg.cross(u, v) for u, v in ((r1, r2), (r2, r0), (r0, r1))]
            adjugate = torch.stack(columns, dim=-1)
            determinant = (r0 * columns[0]).sum(-1)
        inverse = adjugate / determinant[..., None, None]
        shift = -(inverse * self.translation.unsqueeze(-2)).sum(-1)
        return Affine._unchecked(torch.cat((inverse, shift.unsqueeze(-1)), dim=-1))

    def compose(self, other: Geometry) -> Geometry:
        """This map first, then ``other``; two affine maps give one."""
        if not isinstance(other, Affine):
            return super().compose(other)
        outer, inner = other.linear, self.linear
        linear = (outer.unsqueeze(-1) * inner.unsqueeze(-3)).sum(-2)
        shift = (outer * self.translation.unsqueeze(-2)).sum(-1) + other.translation
        return Affine._unchecked(torch.cat((linear, shift.unsqueeze(-1)), dim=-1))

    def to(self, device: torch.device | str) -> Affine:
        """The same map on ``device``."""
        return Affine._unchecked(self.matrix.to(device, non_blocking=True))

    @classmethod
    def stack(cls, items: Sequence[Geometry]) -> Affine:
        """B maps (d, d+1) as one map (B, d, d+1)."""
        return cls._unchecked(torch.stack([item.matrix for item in _same_kind(cls, items)]))


class Cylinder(Geometry):
    """View coordinates (rho, phi, z), canonical ones (x, y, z).

    ``rho >= 0`` is the distance from the z axis and ``phi`` in (-pi, pi] the angle from the x
    axis towards y, in radians. On the axis phi is 0. It has no parameters, so one object serves
    any batch; put an ``Affine`` after it to move the axis.
    """

    def to_canonical(self, points: Tensor) -> Tensor:
        """(..., 3) of (rho, phi, z) to (x, y, z)."""
        rho, phi, z = _floating(points).unbind(-1)
        return torch.stack((rho * phi.cos(), rho * phi.sin(), z), dim=-1)

    def from_canonical(self, points: Tensor) -> Tensor:
        """(..., 3) of (x, y, z) to (rho, phi, z)."""
        x, y, z = _floating(points).unbind(-1)
        return torch.stack((torch.hypot(x, y), torch.atan2(y, x), z), dim=-1)

    def to(self, device: torch.device | str) -> Cylinder:
        """The same object: there is nothing to move."""
        return self

    @classmethod
    def stack(cls, items: Sequence[Geometry]) -> Cylinder:
        """One object for all."""
        return _same_kind(cls, items)[0]


class DenseMap(Geometry):
    """A map read from a field, bilinear between pixel centres: flow, elastic, lens.

    Points outside the field's image, and points read from a NaN, come back as NaN. Between the
    border and the outermost pixel centres the field is continued linearly, so that a field
    sampled from an affine map equals that map on the whole image.

    Args:
        field: (H, W, 2) or (B, H, W, 2): canonical (x, y) of each view pixel centre.
        inverse: (Hc, Wc, 2) or batched, the same the other way round; None = no inverse.

    Raises:
        ValueError: wrong shape.
    """

    def __init__(self, field: Tensor, inverse: Tensor | None = None) -> None:
        for name, value in (("field", field), ("inverse", inverse)):
            if value is None:
                continue
            if value.ndim not in (3, 4) or value.shape[-1] != 2 or 0 in value.shape:
                raise ValueError(
                    f"{name} must be (H, W, 2) or (B, H, W, 2), got {tuple(value.shape)}"
                )
            if value.ndim != field.ndim:
                raise ValueError("field and inverse must both be batched or both not")
        self.field, self.inverse = field, inverse

    def to_canonical(self, points: Tensor) -> Tensor:
        """View coordinates to canonical ones, (..., 2) or (B, N, 2)."""
        return _read_field(self.field, points)

    def from_canonical(self, points: Tensor) -> Tensor:
        """Canonical coordinates to view ones.

        Raises:
            ValueError: no inverse field was given.
        """
        if self.inverse is None:
            raise ValueError("this DenseMap has no inverse field; give one as DenseMap(field, inv)")
        return _read_field(self.inverse, points)

    def to(self, device: torch.device | str) -> DenseMap:
        """The same map on ``device``."""
        inverse = None if self.inverse is None else self.inverse.to(device, non_blocking=True)
        return DenseMap(self.field.to(device, non_blocking=True), inverse)

    @classmethod
    def stack(cls, items: Sequence[Geometry]) -> DenseMap:
        """B maps of equal size as one."""
        maps = _same_kind(cls, items)
        inverses = [item.inverse for item in maps if item.inverse is not None]
        if inverses and len(inverses) != len(maps):
            raise ValueError("some of the maps have an inverse field and some do not")
        return cls(
            torch.stack([item.field for item in maps]),
            torch.stack(inverses) if inverses else None,
        )


class Chain(Geometry):
    """Maps applied one after the other, the first one nearest to the view."""

    def __init__(self, parts: Sequence[Geometry]) -> None:
        if not parts:
            raise ValueError("a chain needs at least one map")
        self.parts = tuple(parts)

    def to_canonical(self, points: Tensor) -> Tensor:
        """Through all maps, first to last."""
        for part in self.parts:
            points = part.to_canonical(points)
        return points

    def from_canonical(self, points: Tensor) -> Tensor:
        """Through the inverses, last to first."""
        for part in reversed(self.parts):
            points = part.from_canonical(points)
        return points

    def to(self, device: torch.device | str) -> Chain:
        """The same chain on ``device``."""
        return Chain([part.to(device) for part in self.parts])

    @classmethod
    def stack(cls, items: Sequence[Geometry]) -> Chain:
        """Chains of the same kinds in the same order, stacked link by link."""
        chains = _same_kind(cls, items)
        if len({len(chain.parts) for chain in chains}) != 1:
            raise ValueError("chains of different lengths cannot be stacked")
        links = zip(*(chain.parts for chain in chains), strict=True)
        return cls([type(link[0]).stack(link) for link in links])


Kind = TypeVar("Kind", bound=Geometry)


def _parts(geometry: Geometry) -> tuple[Geometry, ...]:
    return geometry.parts if isinstance(geometry, Chain) else (geometry,)


def _same_kind(kind: type[Kind], items: Sequence[Geometry]) -> list[Kind]:
    if not items:
        raise ValueError("nothing to stack")
    wrong = [type(item).__name__ for item in items if type(item) is not kind]
    if wrong:
        raise ValueError(f"cannot stack {wrong[0]} as {kind.__name__}")
    return list(items)  # type: ignore[arg-type]


def _floating(points: Tensor) -> Tensor:
    return points.to(torch.promote_types(points.dtype, torch.float32))


def _refuse_singular(matrix: Tensor) -> None:
    if not torch.isfinite(matrix).all():
        raise ValueError("matrix has NaN or infinite entries")
    linear = matrix[..., :-1].double()
    # Hadamard's bound makes the test free of the unit: 1 = orthogonal rows, 0 = singular
    bound = linear.norm(dim=-1).prod(dim=-1)
    if not (torch.linalg.det(linear).abs() > 1e-7 * bound).all():
        raise ValueError("matrix is singular: it flattens the view and has no inverse")


def _apply(matrix: Tensor, points: Tensor) -> Tensor:
    if points.shape[-1] != matrix.shape[-2]:
        raise ValueError(f"points must be (..., {matrix.shape[-2]}), got {tuple(points.shape)}")
    if matrix.ndim == 3:
        _check_batch(matrix.shape[0], points)
        matrix = matrix.reshape(-1, *[1] * (points.ndim - 2), *matrix.shape[1:])
    points = _floating(points)
    terms = [matrix[..., axis] * points[..., axis, None] for axis in range(points.shape[-1])]
    return sum(terms[1:], terms[0]) + matrix[..., -1]


def _check_batch(batch: int, points: Tensor) -> None:
    if points.ndim < 3 or points.shape[0] != batch:
        raise ValueError(f"points must be ({batch}, N, d), got {tuple(points.shape)}")


def _read_field(field: Tensor, points: Tensor) -> Tensor:
    """Bilinear reading of (H, W, 2) or (B, H, W, 2) at (..., 2) or (B, N, 2)."""
    if points.shape[-1] != 2:
        raise ValueError(f"points must be (..., 2), got {tuple(points.shape)}")
    points = _floating(points)
    height, width = field.shape[-3:-1]
    extent = torch.tensor((width, height), device=points.device)
    inside = ((points >= 0) & (points <= extent)).all(-1, keepdim=True)
    position = points - 0.5
    last = (extent - 2).clamp(min=0)
    base = torch.where(inside, position, 0.0).floor().long().clamp(min=0).minimum(last)
    far = (base + 1).minimum(extent - 1)
    high = torch.where(extent > 1, position - base, 0.0)
    low = 1 - high

    flat = field.reshape(-1, 2)
    offset: Tensor | int = 0
    if field.ndim == 4:
        _check_batch(field.shape[0], points)
        offset = torch.arange(field.shape[0], device=points.device) * (height * width)
        offset = offset.reshape(-1, *[1] * (points.ndim - 2))
    value = torch.zeros_like(points)
    for columns, weight_x in ((base[..., 0], low[..., 0]), (far[..., 0], high[..., 0])):
        for rows, weight_y in ((base[..., 1], low[..., 1]), (far[..., 1], high[..., 1])):
            weight = (weight_x * weight_y).unsqueeze(-1)
            corner = flat[offset + rows * width + columns]
            # a NaN next door must not reach a point that gives it no weight
            value = value + torch.where(weight == 0, 0.0, weight * corner)
    return torch.where(inside, value, torch.nan)
