"""What finished tables show: each row's own prediction, of the run that was kept."""

from __future__ import annotations

import numpy as np
import torch

from densecl.transfer.frozen import FrozenSpec
from densecl.transfer.images import LabelledImages
from densecl.transfer.initialisation import random_backbone
from densecl.transfer.probe import ProbeSpec, predict_image
from densecl.transfer.run import prepare, run_cells, write_table
from densecl.transfer.showcase import palette_of, segmentation_pictures, table_pictures
from densecl.transfer.study import Protocol, RowSpec
from densecl.transfer.subsets import Subset
from densecl.viz.tile import enlarge


class Painted:
    palette = ((255, 0, 0), (0, 255, 0), (0, 0, 255))

    def __init__(self, blocks):
        self.blocks = blocks

    def __len__(self):
        return len(self.blocks)

    def __getitem__(self, index):
        return self.blocks[index]

    def name(self, index):
        return self.blocks.name(index)


def tiles(sheet, columns, gap=4):
    """The pictures of a sheet's first line."""
    width = (sheet.shape[1] - gap * (columns - 1)) // columns
    return [sheet[20:170, k * (width + gap) : k * (width + gap) + width] for k in range(columns)]


def test_each_row_is_painted_by_its_own_prediction(blocks):
    images = LabelledImages(Painted(blocks(6)))
    rows = {name: (lambda image, size, k=k: np.full(size, k)) for k, name in enumerate("abc")}
    sheet = segmentation_pictures(rows, images, 3)["predictions"]
    assert sheet.dtype == np.uint8
    _, truth, *painted = tiles(sheet, 5)
    for colour, tile in zip(Painted.palette, painted, strict=True):
        assert (tile == colour).all()
    label = images[0][1]
    colours = np.array([*Painted.palette, (0, 0, 0)], np.uint8)[np.where(label == 255, 3, label)]
    assert (truth == enlarge(colours, 150, smooth=False)).all()


def test_pictures_of_another_size_than_their_labels_fit_the_sheet(blocks):
    images = LabelledImages(Painted(blocks(2)), resize=(24, 24))
    sheet = segmentation_pictures({"a": lambda i, size: np.zeros(size)}, images, 3)["predictions"]
    assert sheet.shape[1] == 3 * round(48 * 150 / 32) + 2 * 4


def test_colours_are_the_data_sets_or_one_a_class(blocks):
    assert palette_of(Painted(blocks(1)), 3) == list(Painted.palette)
    assert len(set(palette_of(blocks(1), 11))) == 11
    assert len(set(palette_of(Painted(blocks(1)), 5))) == 5


def run_of(task, blocks, tmp_path, rows):
    train, val = blocks(4, seed=1), blocks(3, seed=2)
    subset = [Subset("all", tuple(train.name(i) for i in range(4)))]
    protocol = Protocol(task, (1e-3,), reference="random")
    study = prepare(rows, protocol, subset, [3], tmp_path, train=train, val=val)
    run_cells(study, log=lambda text: None)
    return study, write_table(study, tmp_path, log=lambda text: None), val


def test_kept_runs_are_restored_with_their_own_weights(blocks, tiny_backbone, tmp_path):
    task = FrozenSpec(tiny_backbone, ProbeSpec(3, iterations=10))
    other = random_backbone(tiny_backbone, 77).state_dict()
    rows = [RowSpec("random"), RowSpec("other", init=other)]
    study, table, val = run_of(task, blocks, tmp_path, rows)
    sheet = table_pictures(study, table, val)["predictions"]
    palette = np.array(palette_of(val, 3), np.uint8)
    _, _, *painted = tiles(sheet, 4)
    for row, tile in zip(table.rows, painted, strict=True):
        state = torch.load(row.trained[1], weights_only=True)
        init = None if row.name == "random" else other
        probed = task.restore(state, init, seed=3, device="cpu")
        image, truth = LabelledImages(val)[0]
        ids = predict_image(probed.backbone, probed.readout, image, truth.shape, task.probe)
        assert (tile == enlarge(palette[ids], 150, smooth=False)).all()


def test_rows_whose_runs_were_not_kept_are_left_out(blocks, tiny_spec, tmp_path):
    rows = [RowSpec("random"), RowSpec("other", init=lambda seed: None)]
    study, table, val = run_of(tiny_spec, blocks, tmp_path, rows)
    assert table_pictures(study, table, val)["predictions"].shape[1] > 0
    for row in table.rows:
        row.trained[1].unlink(missing_ok=True)
    assert table_pictures(study, table, val) == {}
