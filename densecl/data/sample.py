"""What a data set yields: one or more frames of one source, still un-augmented."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Frame:
    """One image with the maps that share its pixel grid.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        maps: name -> (H, W) integer map: ``label`` (255 = ignore), ``instance``, ``region``
            (-1 = none), ... Resampled by nearest neighbour, never interpolated.
        flow: (H, W, 2) float32 or None. Displacement (x, y) in pixels from this frame's pixel
            centres to the next frame of the same sample; NaN where there is no correspondence
            (occluded, out of frame).
    """

    image: np.ndarray
    maps: dict[str, np.ndarray] = field(default_factory=dict)
    flow: np.ndarray | None = None


@dataclass
class Sample:
    """One item of a data set.

    Attributes:
        frames: one frame, or the frames of a clip in time order.
        source: id of the image or clip in its data set, stable across epochs and runs.
        name: the path or key, for messages.
    """

    frames: tuple[Frame, ...]
    source: int
    name: str
