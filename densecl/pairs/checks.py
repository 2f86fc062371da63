"""Checks shared by the core types: each message names the field and both shapes."""

from __future__ import annotations

import torch
from torch import Tensor


def check_rows(name: str, value: Tensor, n: int, other_name: str, other: Tensor) -> None:
    """Refuse a tensor whose number of rows or device is not that of ``other``.

    Raises:
        ValueError: naming both fields.
    """
    if value.ndim == 0 or value.shape[0] != n:
        raise ValueError(
            f"{name} {tuple(value.shape)} must have as many rows as "
            f"{other_name} {tuple(other.shape)}"
        )
    if value.device != other.device:
        raise ValueError(f"{name} is on {value.device}, {other_name} on {other.device}")


def check_ids(
    name: str,
    value: Tensor,
    *,
    low: int | None = None,
    high: int | None = None,
    limit: str = "",
    dims: tuple[int, ...] = (1,),
) -> int:
    """Refuse ids that are not int64, not (N,), or outside [low, high).

    Returns:
        N.

    Raises:
        ValueError: wrong dtype, number of dimensions, or range; ``limit`` names ``high``.
    """
    if value.dtype != torch.int64:
        raise ValueError(f"{name} must be int64, got {value.dtype}")
    if value.ndim not in dims:
        raise ValueError(
            f"{name} must have {' or '.join(map(str, dims))} dimensions, got shape "
            f"{tuple(value.shape)}"
        )
    # tensors on the meta device have shapes but no values to look at
    if value.numel() and not value.is_meta and (low is not None or high is not None):
        smallest, largest = (int(bound) for bound in torch.aminmax(value))
        if low is not None and smallest < low:
            raise ValueError(f"{name} must be >= {low}, got {smallest}")
        if high is not None and largest >= high:
            raise ValueError(f"{name} must be < {limit or 'its limit'} = {high}, got {largest}")
    return value.shape[0]


def check_float(name: str, value: Tensor, *, dims: int) -> None:
    """Refuse a tensor that is not floating point or has another number of dimensions.

    Raises:
        ValueError: naming the field, its dtype and shape.
    """
    if not value.is_floating_point() or value.ndim != dims:
        raise ValueError(
            f"{name} must be a float tensor with {dims} dimensions, "
            f"got {value.dtype} {tuple(value.shape)}"
        )
