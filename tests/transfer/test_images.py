from __future__ import annotations

import numpy as np
import pytest

from densecl.data.sample import Frame, Sample
from densecl.data.seeding import rng
from densecl.errors import UsageError
from densecl.transfer.images import (
    LabelledImages,
    batch_positions,
    class_weights,
    random_crop,
    training_batch,
)
from densecl.views.photometric import Photometric


def coordinate_image(height, width):
    """Red = row, green = column; the label says the same in one number."""
    rows, columns = np.mgrid[0:height, 0:width]
    image = np.stack([rows, columns, np.zeros_like(rows)], axis=-1).astype(np.uint8)
    return image, (rows // 4 * 8 + columns // 4).astype(np.uint8)


def test_images_are_decoded_once_while_they_fit(blocks):
    dataset = blocks(4)
    images = LabelledImages(dataset, [2, 0])
    for _ in range(3):
        assert len(images) == 2
        images[0], images[1]
    assert dataset.reads == 2
    assert images.name(0) == dataset.name(2)
    tight = LabelledImages(dataset, [2, 0], cache_bytes=32 * 48 * 4)
    dataset.reads = 0
    for _ in range(3):
        tight[0], tight[1]
    assert dataset.reads == 1 + 3


def test_resize_keeps_labels_for_scoring_and_matches_them_for_training(blocks):
    images = LabelledImages(blocks(1), resize=(16, 24))
    image, label = images[0]
    assert image.shape == (16, 24, 3)
    assert label.shape == (32, 48)
    image, label = images.training_pair(0)
    assert label.shape == (16, 24)


def test_missing_labels_and_empty_selection_are_named(blocks):
    class Unlabelled(type(blocks(1))):
        def __getitem__(self, index):
            return Sample((Frame(np.zeros((4, 4, 3), np.uint8)),), index, "lonely.png")

    with pytest.raises(UsageError, match=r"lonely\.png carries no label map"):
        LabelledImages(Unlabelled(1))[0]
    with pytest.raises(UsageError, match="no labelled image"):
        LabelledImages(blocks(3), [])


def test_every_image_is_seen_once_per_pass():
    seen = [p for step in range(14) for p in batch_positions(7, 4, step, seed=0)]
    for epoch in range(8):
        assert sorted(seen[7 * epoch : 7 * epoch + 7]) == list(range(7))
    assert seen[:7] != seen[7:14]
    assert seen[:4] != batch_positions(7, 4, 0, seed=1)


def test_image_and_label_are_cut_alike():
    image, label = coordinate_image(24, 32)
    for k in range(50):
        crop, cut = random_crop(image, label, (16, 16), (1, 1), 0.5, rng(k))
        np.testing.assert_array_equal(cut, crop[..., 0] // 4 * 8 + crop[..., 1] // 4)


def test_flip_happens_as_often_as_asked():
    image, label = coordinate_image(16, 16)
    for hflip, expected in ((0.0, 0), (1.0, 200)):
        crops = [random_crop(image, label, (16, 16), (1, 1), hflip, rng(k))[0] for k in range(200)]
        assert sum(int(crop[0, 0, 1]) > int(crop[0, -1, 1]) for crop in crops) == expected
    crops = [random_crop(image, label, (16, 16), (1, 1), 0.5, rng(k))[0] for k in range(200)]
    # 200 coins: four standard deviations are 28
    assert abs(sum(int(c[0, 0, 1]) > int(c[0, -1, 1]) for c in crops) - 100) < 28


def test_scale_zooms_the_content():
    image, label = coordinate_image(64, 64)
    crop, _ = random_crop(image, label, (16, 16), (2, 2), 0, rng(0))
    assert int(crop[-1, 0, 0]) - int(crop[0, 0, 0]) == pytest.approx(7.5, abs=1)
    crop, _ = random_crop(image, label, (16, 16), (0.5, 0.5), 0, rng(0))
    assert int(crop[-1, 0, 0]) - int(crop[0, 0, 0]) == pytest.approx(30, abs=1)


def test_small_images_are_padded_with_ignore():
    image, label = coordinate_image(8, 8)
    crop, cut = random_crop(image, label, (16, 20), (1, 1), 0, rng(0), fill=(1, 2, 3))
    assert (cut != 255).sum() == 64
    np.testing.assert_array_equal(np.unique(crop[cut == 255], axis=0), [[1, 2, 3]])
    np.testing.assert_array_equal(np.sort(cut[cut != 255]), np.sort(label.ravel()))


def test_every_position_of_the_crop_occurs():
    image, label = coordinate_image(10, 12)
    corners = {
        tuple(random_crop(image, label, (8, 8), (1, 1), 0, rng(k))[0][0, 0, :2].tolist())
        for k in range(300)
    }
    assert corners == {(r, c) for r in range(3) for c in range(5)}


def test_batch_is_a_function_of_seed_and_step(blocks):
    images = LabelledImages(blocks(5))
    options = {
        "batch_size": 3,
        "crop": (16, 16),
        "scale": (0.5, 2),
        "hflip": 0.5,
        "fill": (0, 0, 0),
    }
    one = training_batch(images, seed=1, step=4, **options)
    again = training_batch(LabelledImages(blocks(5)), seed=1, step=4, **options)
    np.testing.assert_array_equal(one[0], again[0])
    np.testing.assert_array_equal(one[1], again[1])
    other = training_batch(images, seed=1, step=5, **options)
    assert (one[0] != other[0]).any()


def test_class_weights_are_inverse_roots_with_mean_one_over_what_occurs(blocks):
    images = LabelledImages(blocks(3))
    pixels = np.concatenate([images[k][1].ravel() for k in range(3)])
    found = class_weights(images, 5)
    counts = [(pixels == c).sum() for c in range(5)]
    roots = [c**-0.5 if c else 0.0 for c in counts]
    seen = sum(c > 0 for c in counts)
    expected = np.array(roots) * seen / sum(roots)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found[3] == found[4] == 0  # classes that never occur
    assert found[:3].mean() == pytest.approx(1.0)


def test_colour_augmentation_moves_no_crop_and_no_label(blocks):
    images = LabelledImages(blocks(3))
    settings = {
        "batch_size": 4,
        "crop": (24, 24),
        "scale": (0.8, 1.2),
        "hflip": 0.5,
        "fill": (0, 0, 0),
        "seed": 3,
        "step": 5,
    }
    plain, labels = training_batch(images, **settings)
    grey, same = training_batch(images, **settings, colour=Photometric(grey=1.0))
    np.testing.assert_array_equal(labels, same)
    assert (grey.max(-1) == grey.min(-1)).all()
    weights = np.array([0.299, 0.587, 0.114])  # luma, so the same crop in grey
    assert abs(plain @ weights - grey[..., 0]).max() < 1.5
    again, _ = training_batch(images, **settings, colour=Photometric(grey=1.0))
    np.testing.assert_array_equal(grey, again)
