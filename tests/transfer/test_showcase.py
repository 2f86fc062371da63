from __future__ import annotations

import numpy as np
import pytest
import torch

from densecl.transfer.finetuning import finetune
from densecl.transfer.identity import Identity
from densecl.transfer.images import LabelledImages
from densecl.transfer.showcase import prediction_sheet, row_predictions
from densecl.transfer.table import Row, Table


@pytest.fixture
def trained(blocks, tiny_spec, tmp_path):
    images = LabelledImages(blocks(4))
    _, segmentor = finetune(tiny_spec, None, images, images)
    torch.save(segmentor.state_dict(), tmp_path / "weights.pt")
    return Row("scratch", {}, trained=(tiny_spec, tmp_path / "weights.pt")), segmentor, images


def test_predictions_are_those_of_the_kept_segmentor(trained, tiny_spec):
    from densecl.transfer.finetuning import evaluate

    row, segmentor, images = trained
    found = row_predictions(row, images)
    confusion = evaluate(segmentor, tiny_spec, images)
    by_hand = np.zeros_like(confusion)
    for position, ids in enumerate(found):
        truth = images[position][1]
        for t, p in zip(truth.ravel(), ids.ravel(), strict=True):
            if t != 255:
                by_hand[t, p] += 1
    np.testing.assert_array_equal(confusion, by_hand)


def test_sheet_has_one_line_an_image_and_one_column_a_row(trained):
    row, _, images = trained
    table = Table([row], "scratch", {}, "validation", (1, 1), identity=Identity("toy", "", 1, {}))
    palette = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    sheet = prediction_sheet(table, ["scratch"], images, palette, height=32)
    assert sheet.dtype == np.uint8
    assert sheet.shape[1] == 3 * 48 + 2 * 4
    assert sheet.shape[0] >= 4 * 32


def test_a_row_without_kept_weights_is_named():
    with pytest.raises(ValueError, match="'lost'"):
        row_predictions(Row("lost", {}), None)
