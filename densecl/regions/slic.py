"""SLIC superpixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from densecl.regions.image import ImageSegmentation, scikit_image
from densecl.regions.segments import relabel
from densecl.registry import REGIONS


@REGIONS.register_module()
@dataclass(frozen=True, kw_only=True)
class Slic(ImageSegmentation):
    """Compact superpixels of about equal size (Achanta et al., TPAMI 2012), by scikit-image.

    k-means in colour and position that starts from a grid, then regions made connected: each
    region is 4-connected. The defaults are those of SLidR (150 segments for 900 x 1600 pixels).

    Args:
        segments: how many are aimed at; more or fewer may come out.
        compactness: weight of position against colour (Lab); higher is squarer.
        sigma: standard deviation in pixels of the blur before segmenting.
        iterations: of k-means.
    """

    version: ClassVar[int] = 1
    packages: ClassVar[tuple[str, ...]] = ("scikit-image",)

    segments: int = 150
    compactness: float = 6.0
    sigma: float = 3.0
    iterations: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        self._need("segments", 1)
        self._need("iterations", 1)
        self._need("compactness", 0, above=True)
        self._need("sigma", 0)

    def ids(self, image: np.ndarray) -> np.ndarray:
        """(H, W) int32 ids of an image of the working size."""
        found = scikit_image().slic(
            image,
            n_segments=self.segments,
            compactness=self.compactness,
            sigma=self.sigma,
            max_num_iter=self.iterations,
            start_label=0,
            channel_axis=-1,
        )
        return relabel(found)


def slic(
    image: np.ndarray,
    segments: int = 150,
    compactness: float = 6.0,
    sigma: float = 3.0,
    *,
    iterations: int = 10,
    working: int | None = None,
) -> np.ndarray:
    """Superpixels of one image; see ``Slic``.

    Args:
        image: (H, W, 3) uint8, RGB.
        segments: how many are aimed at.
        compactness: weight of position against colour.
        sigma: blur before segmenting, in pixels.
        iterations: of k-means.
        working: longest side at which the image is segmented.

    Returns:
        (H, W) int32, 0 to R - 1.

    Raises:
        UsageError: a bad setting or image, or scikit-image is missing.
    """
    method = Slic(
        segments=segments,
        compactness=compactness,
        sigma=sigma,
        iterations=iterations,
        working=working,
    )
    return method(image).ids
