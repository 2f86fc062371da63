"""What all segmentations of images share: working resolution, tree, foreground."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np

from densecl.errors import UsageError
from densecl.regions.foreground import foreground_score
from densecl.regions.hierarchy import merge_tree
from densecl.regions.method import Segmentation
from densecl.regions.segments import Segments, digest


@dataclass(frozen=True, kw_only=True)
class ImageSegmentation(Segmentation[np.ndarray]):
    """Regions of an (H, W, 3) uint8 RGB image.

    Args:
        working: longest side in pixels at which the image is segmented; larger ones are shrunk
            (area average) and the ids brought back by the nearest pixel. None = full size. Sizes
            in pixels among the settings are those of the shrunk image.
        levels: numbers of regions of the coarser levels of a tree, coarse to fine, e.g. (8, 32);
            the regions themselves are its last level. () = no tree.
        foreground: whether to score how much each region stands out (``foreground_score``).
    """

    kind: ClassVar[str] = "image"

    working: int | None = None
    levels: tuple[int, ...] = ()
    foreground: bool = False

    def __post_init__(self) -> None:
        name = type(self).__name__
        if self.working is not None and not _count(self.working):
            raise UsageError(f"{name}: working = {self.working!r}", needed="pixels, or None")
        rising = isinstance(self.levels, (tuple, list)) and all(map(_count, self.levels))
        if not rising or list(self.levels) != sorted(set(self.levels)):
            raise UsageError(
                f"{name}: levels = {self.levels!r}",
                needed="rising numbers of regions, coarse to fine, as (8, 32)",
            )
        if not isinstance(self.foreground, bool):
            raise UsageError(f"{name}: foreground = {self.foreground!r}", needed="True or False")
        object.__setattr__(self, "levels", tuple(self.levels))

    @abstractmethod
    def ids(self, image: np.ndarray) -> np.ndarray:
        """(H, W) int32 ids of an image of the working size."""

    def __call__(self, item: np.ndarray) -> Segments:
        """The regions of an image.

        Raises:
            UsageError: not (H, W, 3) uint8, or the package that segments is missing.
        """
        small = shrink(item, self.working)
        ids = self.ids(small)
        scores = {}
        if self.foreground:
            scores["foreground"] = foreground_score(ids, small).astype(np.float32)
        levels = merge_tree(ids, small).levels(self.levels) if self.levels else None
        return Segments(enlarge(ids, (item.shape[0], item.shape[1])), scores, levels)

    def identify(self, item: np.ndarray) -> str:
        """Hash of the pixels."""
        return digest(item)


def _count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def check_image(image: np.ndarray) -> None:
    """Check the type of an image.

    Raises:
        UsageError: not (H, W, 3) uint8, or empty.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise UsageError(
            f"an image is {image.dtype} of shape {image.shape}", needed="(H, W, 3) uint8, RGB"
        )


def shrink(image: np.ndarray, longest: int | None) -> np.ndarray:
    """The image with its longest side at most ``longest`` pixels; never enlarged."""
    check_image(image)
    height, width = image.shape[:2]
    side = max(height, width)
    if longest is None or side <= longest:
        return image
    size = (max(1, round(width * longest / side)), max(1, round(height * longest / side)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def enlarge(ids: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Ids on a finer grid: each pixel takes the id of the pixel that its centre lies in.

    Every id and every neighbourhood is kept.
    """
    if ids.shape == size:
        return ids
    rows, columns = (
        (2 * np.arange(fine) + 1) * coarse // (2 * fine)
        for fine, coarse in zip(size, ids.shape, strict=True)
    )
    return ids[rows[:, None], columns]


def scikit_image() -> Any:
    """The module ``skimage.segmentation``.

    Raises:
        UsageError: scikit-image is not installed.
    """
    try:
        from skimage import segmentation
    except ImportError as error:
        raise UsageError(
            "superpixels need scikit-image, which is not installed",
            fix="pip install 'densecl[regions]'",
        ) from error
    return segmentation
