from __future__ import annotations

import numpy as np
import pytest
import torch

from densecl.data.sample import Frame, Sample
from densecl.transfer.features import FrozenInput
from densecl.transfer.images import LabelledImages
from densecl.transfer.map_stream import stream_maps


class Sizes:
    sizes = ((32, 32), (32, 32), (32, 64), (64, 32), (32, 32), (32, 32), (32, 32))

    def __len__(self):
        return len(self.sizes)

    def name(self, index):
        return str(index)

    def __getitem__(self, index):
        image = np.random.default_rng(index).integers(0, 256, (*self.sizes[index], 3))
        label = np.full((5, 4), index, np.uint8)
        return Sample((Frame(image.astype(np.uint8), {"label": label}),), index, str(index))


@pytest.mark.parametrize("batch", [1, 2, 16])
def test_maps_come_in_order_and_equal_those_of_single_pictures(tiny_backbone, batch):
    input = FrozenInput(tiny_backbone, batch=batch)
    backbone = input.open(None, 0, "cpu")
    images = LabelledImages(Sizes())
    found = list(stream_maps(input, backbone, images))
    assert [each.position for each in found] == list(range(7))
    for position, features, label in found:
        alone = input.maps(backbone, images[position][0])[0]
        assert torch.allclose(features, alone, atol=1e-5)
        assert (label == position).all()


def test_forwards_hold_at_most_a_batch_of_one_size(tiny_backbone):
    input = FrozenInput(tiny_backbone, batch=2)
    backbone = input.open(None, 0, "cpu")
    seen = []
    backbone.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
    list(stream_maps(input, backbone, LabelledImages(Sizes())))
    assert [shape[0] for shape in seen] == [2, 1, 1, 2, 1]
