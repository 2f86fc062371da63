from __future__ import annotations

import numpy as np

from densecl.data.streets import PALETTE
from densecl.transfer.images import LabelledImages
from densecl.transfer.prediction_sheet import UNMATCHED, palette_of, prediction_sheet, shown


def test_a_column_for_each_row_and_nothing_predicted_is_magenta(blocks):
    images = shown(LabelledImages(blocks(9)), 3)
    truths = [images[i][1] for i in range(3)]
    nothing = [np.full_like(truth, 3) for truth in truths]
    sheet = prediction_sheet(images, {"a": truths, "b": nothing}, 3)
    assert (sheet[30:, -20:] == UNMATCHED).all(axis=-1).any()
    alone = prediction_sheet(images, {"a": truths}, 3)
    assert not (alone == UNMATCHED).all(axis=-1).any()
    assert sheet.shape[1] > alone.shape[1]


def test_shown_pictures_are_spread_over_the_selection(blocks):
    images = LabelledImages(blocks(9), [1, 3, 5, 7, 8], resize=(16, 24))
    assert shown(images, 3).indices == [1, 5, 8]
    assert shown(images, 99).indices == images.indices
    assert shown(images).resize == (16, 24)


def test_colours_are_the_data_sets_own_where_it_has_some(blocks):
    class Own:
        palette = PALETTE

    assert palette_of(Own(), 11) == list(PALETTE)
    assert len({tuple(colour) for colour in palette_of(blocks(1), 12)}) == 12
