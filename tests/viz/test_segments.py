from __future__ import annotations

import numpy as np
import pytest

from densecl.regions import Segments
from densecl.viz.segments import (
    BORDER,
    NONE,
    draw_borders,
    draw_means,
    draw_score,
    region_colours,
    segment_sheet,
)

IDS = np.array([[0, 0, 1], [0, -1, 1]])


def test_each_region_has_one_colour_and_neighbouring_ids_differ():
    colours = region_colours(IDS)
    assert (colours[0, 0] == colours[1, 0]).all()
    assert (colours[0, 0] != colours[0, 2]).any()
    assert colours[1, 1].tolist() == list(NONE)
    many = region_colours(np.arange(100)[None]).astype(int)
    assert np.abs(np.diff(many[0], axis=0)).sum(1).min() > 60


def test_borders_run_where_the_ids_change_and_the_picture_stays():
    image = np.zeros((2, 3, 3), np.uint8)
    drawn = draw_borders(image, IDS)
    edge = (drawn == BORDER).all(-1)
    assert edge.tolist() == [[False, True, False], [True, True, False]]
    assert not image.any()


def test_means_and_scores_fill_their_region():
    image = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    means = draw_means(image, IDS)
    assert means[0, 0].tolist() == image[IDS == 0].mean(0).round().tolist()
    assert means[1, 1].tolist() == list(NONE)
    score = draw_score(IDS, np.array([0.0, 1.0]))
    assert score[0, 0].tolist() == [0, 0, 0]
    assert score[1, 2].tolist() == [255, 255, 255]


@pytest.mark.parametrize("rich", [False, True])
def test_a_sheet_has_a_row_for_each_picture(rich, tmp_path):
    found = Segments(
        IDS,
        {"foreground": np.array([0.0, 1.0])} if rich else {},
        np.array([[0, 0], [0, 1]]) if rich else None,
    )
    image = np.full((2, 3, 3), 80, np.uint8)
    sheet = segment_sheet([image, image], [found, found], height=40)
    columns = 5 if rich else 3
    assert sheet.shape == (20 + 2 * 40 + 4, columns * 60 + (columns - 1) * 4, 3)


def test_no_region_at_all_is_drawn():
    ids = np.full((2, 2), -1)
    assert (region_colours(ids) == NONE).all()
    assert (draw_score(ids, np.zeros(0)) == (60, 60, 90)).all()
