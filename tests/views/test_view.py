import dataclasses

import pytest
import torch

from densecl.views.geometry import Affine
from densecl.views.view import View, ViewBatch


def view(size=4, **values):
    image = torch.zeros(3, size, size, dtype=torch.uint8)
    return View(image, Affine.identity(2), source=1, source_size=(8, 9), **values)


def test_missing_masks_count_as_all_valid():
    mask = torch.zeros(4, 4, dtype=torch.bool)
    batch = ViewBatch.collate([view(), view(valid=mask)])
    assert batch.valid[0].all()
    assert not batch.valid[1].any()
    assert ViewBatch.collate([view(), view()]).valid is None


def test_views_that_do_not_fit_are_refused():
    flow = torch.zeros(4, 4, 2)
    for other in (view(size=5), view(maps={"label": flow[..., 0]}), view(flow=flow)):
        with pytest.raises(ValueError, match=r"differ|some"):
            ViewBatch.collate([view(), other])
    with pytest.raises(ValueError, match="empty"):
        ViewBatch.collate([])


def test_moving_keeps_every_field():
    maps = {"label": torch.ones(4, 4, dtype=torch.int64)}
    batch = ViewBatch.collate([view(flow=torch.zeros(4, 4, 2), maps=maps)])
    moved = batch.to("cpu")
    for item in dataclasses.fields(batch):
        before, after = getattr(batch, item.name), getattr(moved, item.name)
        if isinstance(before, torch.Tensor):
            assert torch.equal(before, after)
    assert torch.equal(moved.maps["label"], batch.maps["label"])
    assert torch.equal(moved.geometry.matrix, batch.geometry.matrix)
    assert (len(moved), moved.size) == (1, (4, 4))
