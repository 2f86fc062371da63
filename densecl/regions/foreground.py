"""How much a region stands out from the background: Zhu et al., CVPR 2014 (RBD)."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

from densecl.regions.connected import adjacency, region_means
from densecl.regions.hierarchy import lab
from densecl.regions.segments import region_sizes

# the paper's: colour distance in Lab, boundary connectivity, share of the image's side
_SIGMA_COLOUR, _SIGMA_BOUNDARY, _SIGMA_SPACE = 10.0, 1.0, 0.25
# keeps edges between equal colours in a sparse graph, where 0 means no edge
_TINY = 1e-9


def foreground_score(ids: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Background-weighted contrast of each region, from 0 to 1 within the image.

    "Saliency optimization from robust background detection", section 4: what is strongly
    connected to the image's border is background, and what differs from the background nearby
    stands out. The paper's last step, the joint optimisation, is left out. Areas and border
    lengths are counted in pixels, as in its equation 1, so that regions may differ in size.

    Args:
        ids: (H, W) integer, 0 to R - 1, -1 = none.
        image: (H, W, 3) uint8, RGB.

    Returns:
        (R,) float64; all 0 where nothing stands out. Memory and time grow with R squared.
    """
    size = region_sizes(ids)
    if not len(size):
        return np.zeros(0)
    colour, place = region_means(ids, lab(image)), _places(ids)
    apart = np.linalg.norm(colour[:, None] - colour, axis=2)
    background = 1.0 - np.exp(-(_connectivity(ids, size, apart) ** 2) / (2 * _SIGMA_BOUNDARY**2))
    away = ((place[:, None] - place) ** 2).sum(axis=2)
    near = np.exp(-away / (2 * _SIGMA_SPACE**2))
    contrast = (apart * near * background) @ (size / size.sum())
    low, high = contrast.min(), contrast.max()
    return (contrast - low) / (high - low) if high > low else np.zeros(len(size))


def boundary_connectivity(ids: np.ndarray, image: np.ndarray) -> np.ndarray:
    """(R,) float64: length on the image's border over the root of the area, both softly spread.

    Equations 2 to 5 of the paper: regions reached over small steps in colour count as one.
    Regions on the border are neighbours of one another.
    """
    colour = region_means(ids, lab(image))
    apart = np.linalg.norm(colour[:, None] - colour, axis=2)
    return _connectivity(ids, region_sizes(ids), apart)


def foreground_mask(
    ids: np.ndarray, score: np.ndarray, threshold: float | None = None
) -> np.ndarray:
    """(H, W) bool: pixels of the regions that score more than a threshold.

    Args:
        ids: (H, W) integer, -1 = none.
        score: (R,) numbers.
        threshold: None = Otsu's (1979) on the pixels' scores: the one that leaves the least
            variance within the two sides.
    """
    if threshold is None:
        threshold = _otsu(score, region_sizes(ids))
    return np.append(score > threshold, False)[ids]


def _connectivity(ids: np.ndarray, size: np.ndarray, apart: np.ndarray) -> np.ndarray:
    rim = np.concatenate([ids[0], ids[-1], ids[1:-1, 0], ids[1:-1, -1]])
    length = np.bincount(rim[rim >= 0], minlength=len(size))
    pairs = adjacency(ids)[0]
    outer = np.flatnonzero(length)
    both = np.stack(np.triu_indices(len(outer), 1), axis=1)
    a, b = np.concatenate([pairs, outer[both]]).T
    _, once = np.unique(a * len(size) + b, return_index=True)
    a, b = a[once], b[once]
    graph = coo_matrix((apart[a, b] + _TINY, (a, b)), shape=apart.shape).tocsr()
    reach = np.exp(-(dijkstra(graph, directed=False) ** 2) / (2 * _SIGMA_COLOUR**2))
    return (reach @ length) / np.sqrt(reach @ size)


def _places(ids: np.ndarray) -> np.ndarray:
    """(R, 2) centres of the regions, in shares of the image's longer side."""
    rows, columns = np.indices(ids.shape)
    return region_means(ids, np.stack([rows, columns], axis=-1)) / max(ids.shape)


def _otsu(score: np.ndarray, size: np.ndarray) -> float:
    order = np.argsort(score, kind="stable")
    value, weight = score[order].astype(np.float64), size[order].astype(np.float64)
    if len(value) < 2 or value[0] == value[-1]:
        return np.inf
    below = np.cumsum(weight)[:-1]
    above = weight.sum() - below
    mass = np.cumsum(weight * value)
    gap = mass[:-1] / below - (mass[-1] - mass[:-1]) / above
    between = np.where(value[1:] > value[:-1], below * above * gap**2, -1.0)
    return float(value[int(np.argmax(between))])
