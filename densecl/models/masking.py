"""What a mask means to every 2D backbone."""

from __future__ import annotations

from torch import Tensor


def hide(x: Tensor, mask: Tensor | None) -> Tensor:
    """Set the pixels that must not be seen to zero, the mean colour of a normalised image.

    Args:
        x: (B, 3, H, W) float.
        mask: (B, H, W) bool, True where the input may be seen; None shows everything.

    Raises:
        ValueError: the mask's shape is not (B, H, W).
    """
    if mask is None:
        return x
    if mask.shape != (x.shape[0], *x.shape[2:]):
        raise ValueError(f"mask is {tuple(mask.shape)}, the input {tuple(x.shape)}")
    return x.masked_fill(~mask.bool().unsqueeze(1), 0.0)
