from __future__ import annotations

import numpy as np
import torch

from densecl.viz.features import feature_pca


def test_cells_with_equal_features_get_equal_colours_across_the_batch():
    generator = torch.Generator().manual_seed(0)
    parts = torch.randn(4, 16, generator=generator)
    ids = torch.randint(0, 4, (2, 6, 7), generator=generator)
    colours = feature_pca(parts[ids].permute(0, 3, 1, 2))
    assert colours.shape == (2, 6, 7, 3)
    for part in range(4):
        assert len(np.unique(colours[(ids == part).numpy()], axis=0)) == 1
    assert len(np.unique(colours.reshape(-1, 3), axis=0)) == 4


def test_colours_do_not_depend_on_the_scale_of_the_features():
    features = torch.randn(1, 8, 5, 5, generator=torch.Generator().manual_seed(1))
    difference = feature_pca(features).astype(int) - feature_pca(features * 100).astype(int)
    assert abs(difference).max() <= 1  # one grey level of rounding


def test_constant_features_give_a_finite_picture():
    assert feature_pca(torch.ones(1, 4, 3, 3)).shape == (1, 3, 3, 3)


def test_two_channels_leave_the_third_colour_empty():
    assert (feature_pca(torch.randn(1, 2, 4, 4))[..., 2] == 0).all()
