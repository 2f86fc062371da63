"""Every object of an image segmented from points on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torch.nn import functional

from densecl.data.davis import VOID
from densecl.data.seeding import rng
from densecl.transfer.prompts.coverage import cell_coverage
from densecl.transfer.prompts.curves import auroc, iou_curve
from densecl.transfer.prompts.points import cell_of, centre_point, random_cells


@dataclass(frozen=True)
class Prompted:
    """One object.

    Attributes:
        number: its id.
        area: share of the picture that it covers.
        centre: (K,) IoU at each threshold, prompted at its deepest point.
        random: (K,) mean IoU over the random prompts.
        auroc: of "on the object" from the similarity to the deepest point; NaN where no pixel
            lies off the object.
    """

    number: int
    area: float
    centre: np.ndarray
    random: np.ndarray
    auroc: float


def similarity_maps(features: Tensor, cells: Sequence[int], size: tuple[int, int]) -> Tensor:
    """How like some cells everything else is.

    Args:
        features: (D, h, w), vectors of any length.
        cells: P row-major numbers.
        size: (H, W) of the result.

    Returns:
        (P, H, W) cosine, interpolated bilinearly between cells.
    """
    rows = functional.normalize(features.flatten(1).T.float(), dim=1)
    cosine = (rows[list(cells)] @ rows.T).clamp(-1, 1)
    maps = cosine.view(1, -1, *features.shape[1:])
    return functional.interpolate(maps, size, mode="bilinear", align_corners=False)[0]


def large_objects(
    ids: np.ndarray, objects: Sequence[int], size: tuple[int, int], min_cells: float
) -> tuple[list[int], np.ndarray]:
    """The objects that cover at least as much area as ``min_cells`` cells, and their coverage.

    Args:
        ids: (H, W) integers.
        objects: ids.
        size: (h, w) of the feature map.
        min_cells: see there.

    Returns:
        O' ids, and (O', h, w), see ``cell_coverage``.
    """
    if not objects:
        return [], np.zeros((0, *size))
    coverage = cell_coverage(ids, objects, size)
    # the slack is for sums of thirds that come out a rounding short of a whole
    kept = np.flatnonzero(coverage.sum((1, 2)) >= min_cells - 1e-9).tolist()
    return [objects[k] for k in kept], coverage[kept]


def prompt_objects(
    features: Tensor,
    ids: np.ndarray,
    objects: Sequence[int],
    coverage: np.ndarray,
    thresholds: np.ndarray,
    *,
    prompts: int,
    seed: int,
    source: int,
) -> list[Prompted]:
    """Segment each object from its deepest point, and from random cells on it.

    Args:
        features: (D, h, w).
        ids: (H, W) integers; void does not count, all other pixels off the object are background.
        objects: ids.
        coverage: (O, h, w), see ``cell_coverage``.
        thresholds: (K,) ascending.
        prompts: random ones an object; 0 = none, and ``random`` is NaN.
        seed, source: the draws are a function of (seed, source, object).
    """
    cells = (features.shape[1], features.shape[2])
    counted = ids != VOID
    found = []
    for number, covered in zip(objects, coverage, strict=True):
        mask = ids == number
        centre = cell_of(centre_point(mask), (ids.shape[0], ids.shape[1]), cells)
        drawn = random_cells(covered, prompts, rng(seed, source, number))
        maps = similarity_maps(features, [centre, *drawn], (ids.shape[0], ids.shape[1]))
        values = maps.cpu().numpy()[:, counted]
        target = mask[counted]
        curves = np.stack([iou_curve(each, target, thresholds) for each in values])
        random = curves[1:].mean(0) if prompts else np.full(len(thresholds), np.nan)
        area = float(target.sum() / target.size)
        ranked = auroc(values[0][target], values[0][~target])
        found.append(Prompted(number, area, curves[0], random, ranked))
    return found


def cross_fitted(curves: np.ndarray, half: np.ndarray) -> np.ndarray:
    """IoU of each object at the threshold that is best on the objects of the other half.

    Args:
        curves: (N, K) IoU at each threshold.
        half: (N,) bool.

    Returns:
        (N,). The best threshold is that of the largest mean, of equal ones the lowest.

    Raises:
        ValueError: a half is empty.
    """
    if half.all() or not half.any():
        raise ValueError("both halves need an object")
    chosen = [int(curves[half == side].mean(0).argmax()) for side in (False, True)]
    return np.where(half, curves[:, chosen[0]], curves[:, chosen[1]])
