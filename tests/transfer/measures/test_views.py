from __future__ import annotations

import numpy as np
import pytest
import torch

from densecl.pairs import PointSet
from densecl.transfer.features import FrozenInput
from densecl.transfer.measures.matching import FEATURES
from densecl.transfer.measures.views import Pictures, cell_places, two_views
from densecl.views import ViewGenerator


class Averages(torch.nn.Module):
    """The mean colour of every 4 x 4 pixels, as a map of stride 4."""

    def forward(self, x):
        return type("Features", (), {"maps": {4: torch.nn.functional.avg_pool2d(x, 4)}})


def test_places_are_the_centres_of_cells_in_shares_of_the_sides():
    points = PointSet.from_map({"z": torch.zeros(2, 1, 2, 3)}, geometry=None, size=(20, 60))
    expected = [[x, y] for y in (1 / 4, 3 / 4) for x in (1 / 6, 1 / 2, 5 / 6)]
    assert cell_places(points).numpy() == pytest.approx(np.array(expected * 2))


def test_rows_are_the_features_of_the_views_with_their_labels(blocks):
    pictures = Pictures(blocks(5, seed=2), [4, 1, 3])
    reading = FrozenInput({}, mean=(0.0,) * 3, std=(1.0,) * 3, batch=2)
    generator = ViewGenerator("mocov2", size=(8, 12), seed=3)
    sets = two_views(reading, Averages(), pictures, [0, 2], generator)
    for side, points in enumerate(sets):
        rows = points.fields[FEATURES].reshape(2, 2, 3, 3)
        for place, index in enumerate((4, 3)):
            view = generator(blocks(5, seed=2)[index], epoch=0)[side]
            for i in range(2):
                for j in range(3):
                    part = np.s_[:, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4]
                    mean = view.image[part].float().mean(dim=(1, 2))
                    torch.testing.assert_close(rows[place, i, j], mean)
                    label = points.label.reshape(2, 2, 3)[place, i, j]
                    assert label == view.maps["label"][4 * i + 2, 4 * j + 2]
        assert points.num_samples == 2
    assert not torch.equal(sets[0].coord, sets[1].coord)


def test_pictures_are_decoded_once_and_count_their_maps(blocks):
    dataset = blocks(3)
    pictures = Pictures(dataset)
    sample = pictures[1]
    assert pictures[1] is sample
    assert dataset.reads == 1
    assert pictures.size_of(sample) == 32 * 48 * (3 + 1)
    assert pictures.name(1) == "blocks0/001"
