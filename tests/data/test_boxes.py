"""What the readers of boxes share."""

from __future__ import annotations

import numpy as np
import pytest

from densecl.data.boxes import BoxedImage, BoxRow, BoxTable, check_degenerate, clip_box
from densecl.errors import UsageError


def test_each_image_gets_its_own_rows():
    rows = [[BoxRow((0, 0, 2, 3), 1)], [], [BoxRow((1, 1, 2, 2), 0, crowd=True, area=0.5)] * 2]
    table = BoxTable.of(rows)
    image = np.zeros((4, 4, 3), np.uint8)
    items = [table.item(i, image, str(i)) for i in range(3)]
    assert [len(item.boxes) for item in items] == [1, 0, 2]
    assert items[0].boxes.tolist() == [[0, 0, 2, 3]]
    assert items[0].area.tolist() == [6.0]
    assert items[2].area.tolist() == [0.5, 0.5]
    assert items[2].crowd.all()
    assert not items[0].crowd.any()


def test_the_digest_changes_with_every_column():
    plain = BoxTable.of([[BoxRow((0, 0, 2, 3), 1)]])
    others = [
        BoxRow((0, 0, 2, 4), 1),
        BoxRow((0, 0, 2, 3), 0),
        BoxRow((0, 0, 2, 3), 1, ignore=True),
        BoxRow((0, 0, 2, 3), 1, crowd=True),
        BoxRow((0, 0, 2, 3), 1, area=5.0),
    ]
    digests = {plain.digest(), *(BoxTable.of([[row]]).digest() for row in others)}
    assert len(digests) == 6
    assert BoxTable.of([[BoxRow((0, 0, 2, 3), 1)]]).digest() == plain.digest()


def test_columns_of_another_length_are_refused():
    zero = np.zeros(1, bool)
    with pytest.raises(ValueError, match="columns"):
        BoxedImage(
            np.zeros((2, 2, 3), np.uint8),
            np.zeros((2, 4), np.float32),
            np.zeros(2, np.int64),
            zero,
            zero,
            np.zeros(2, np.float32),
            "a",
        )


def test_a_box_is_cut_at_the_border():
    assert clip_box((-1, 2, 9, 12), 8, 10) == (0, 2, 8, 10)
    assert clip_box((20, 20, 30, 30), 8, 10) == (8, 10, 8, 10)


def test_degenerate_boxes_are_refused_unless_dropped(tmp_path):
    check_degenerate([], tmp_path, "raise")
    check_degenerate(["object 1"], tmp_path, "drop")
    with pytest.raises(UsageError, match=r"2 boxes without area.*object 1; object 2"):
        check_degenerate(["object 1", "object 2"], tmp_path, "raise")
    with pytest.raises(UsageError, match="degenerate"):
        check_degenerate([], tmp_path, "ignore")
