"""Felzenszwalb and Huttenlocher's graph-based regions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from densecl.regions.image import ImageSegmentation, scikit_image
from densecl.regions.segments import relabel
from densecl.registry import REGIONS


@REGIONS.register_module()
@dataclass(frozen=True, kw_only=True)
class Felzenszwalb(ImageSegmentation):
    """Regions of any size that follow the edges (IJCV 2004), by scikit-image.

    Regions are connected over 8 neighbours. The defaults are those of DetCon, for pictures of
    about 400 x 500 pixels.

    Args:
        scale: higher gives larger regions; in grey levels of 0 to 255.
        sigma: standard deviation in pixels of the blur before segmenting.
        min_size: smallest region in pixels.
    """

    version: ClassVar[int] = 1
    packages: ClassVar[tuple[str, ...]] = ("scikit-image",)

    scale: float = 1000.0
    sigma: float = 0.8
    min_size: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        self._need("scale", 0)
        self._need("sigma", 0)
        self._need("min_size", 1)

    def ids(self, image: np.ndarray) -> np.ndarray:
        """(H, W) int32 ids of an image of the working size."""
        found = scikit_image().felzenszwalb(
            image, scale=self.scale, sigma=self.sigma, min_size=self.min_size, channel_axis=-1
        )
        return relabel(found)


def felzenszwalb(
    image: np.ndarray,
    scale: float = 1000.0,
    sigma: float = 0.8,
    min_size: int = 1000,
    *,
    working: int | None = None,
) -> np.ndarray:
    """Graph-based regions of one image; see ``Felzenszwalb``.

    Args:
        image: (H, W, 3) uint8, RGB.
        scale: higher gives larger regions.
        sigma: blur before segmenting, in pixels.
        min_size: smallest region in pixels.
        working: longest side at which the image is segmented.

    Returns:
        (H, W) int32, 0 to R - 1.

    Raises:
        UsageError: a bad setting or image, or scikit-image is missing.
    """
    method = Felzenszwalb(scale=scale, sigma=sigma, min_size=min_size, working=working)
    return method(image).ids
