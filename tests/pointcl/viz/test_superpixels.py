from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from camera_worlds import SIZE, PaintedRooms

from densecl.viz.segments import region_colours
from pointcl.sensors.projection import project
from pointcl.viz.superpixels import TINT, draw_superpixels


def test_a_superpixel_and_its_points_share_a_colour():
    scan = PaintedRooms(length=1)[0]
    camera = scan.cameras[0]
    projection = project(scan, camera)
    ids = np.zeros(SIZE, np.int32)
    ids[:, SIZE[1] // 2 :] = 1
    ids[0] = 2  # no point lies there
    ids[-1] = -1
    assert not (projection.pixel[projection.kept][:, 1] < 1).any()
    image = np.full((*SIZE, 3), 128, np.uint8)
    drawn = draw_superpixels(image, scan.points, projection, ids, height=6 * SIZE[0])
    palette = region_colours(np.arange(3)[None])[0]
    left, right = drawn[:, : 6 * SIZE[1]], drawn[:, 6 * SIZE[1] :]
    for region, column in ((0, 20), (1, 6 * SIZE[1] - 20)):
        mixed = ((1 - TINT) * 128 + TINT * palette[region]).astype(np.uint8)
        assert left[3 * SIZE[0], column].tolist() == mixed.tolist()
        near = np.abs(right.astype(int) - palette[region]).max(-1) < 60
        assert near.any()
    assert left[0, 20].tolist() == [128] * 3
    assert left[-1, 20].tolist() == [128] * 3


def test_sizes_that_disagree_are_refused():
    scan = PaintedRooms(length=1)[0]
    projection = project(scan, scan.cameras[0])
    image, ids = np.zeros((*SIZE, 3), np.uint8), np.zeros(SIZE, np.int32)
    with pytest.raises(ValueError, match="ids"):
        draw_superpixels(image, scan.points, projection, ids[:-1])
    with pytest.raises(ValueError, match="points"):
        draw_superpixels(image, scan.points[:-1], projection, ids)
