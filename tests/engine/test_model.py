from __future__ import annotations

import numpy as np
import pytest
import torch
from engine_dummy import DummyMethod

from densecl.engine.model import ImageModel, InputNorm

MEAN, STD = (10.0, 20.0, 30.0), (1.0, 2.0, 4.0)


@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_normalisation_equals_the_loop_over_channels(order):
    image = torch.randint(0, 256, (2, 3, 5, 4), dtype=torch.uint8)
    expected = np.empty(image.shape, np.float64)
    for c in range(3):
        source = c if order == "RGB" else 2 - c
        expected[:, c] = (image[:, source].numpy().astype(np.float64) - MEAN[c]) / STD[c]
    out = InputNorm(MEAN, STD, channel_order=order)(image)
    assert out.dtype == torch.float32
    # float32 rounding of values below 250.
    np.testing.assert_allclose(out.numpy(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("channels_last", [True, False])
def test_memory_format_reaches_images_and_weights(channels_last):
    form = torch.channels_last if channels_last else torch.contiguous_format
    norm = InputNorm(MEAN, STD, channels_last=channels_last)
    image = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    assert norm(image).is_contiguous(memory_format=form)
    model = ImageModel(DummyMethod(), norm, channels_last=channels_last)
    assert model.method.online["backbone"].conv.weight.is_contiguous(memory_format=form)


def test_statistics_of_the_input_are_not_among_the_weights():
    model = ImageModel(DummyMethod(), InputNorm(MEAN, STD))
    assert not [name for name in model.state_dict() if "mean" in name and name == "norm.mean"]
