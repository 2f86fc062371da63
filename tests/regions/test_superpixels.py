from __future__ import annotations

import builtins

import numpy as np
import pytest

from densecl.errors import UsageError
from densecl.regions import Felzenszwalb, Slic, felzenszwalb, slic, split_regions
from densecl.regions.image import enlarge, shrink


def contiguous(ids):
    return sorted(set(ids.reshape(-1).tolist())) == list(range(ids.max() + 1))


def test_slic_regions_are_contiguous_ids_of_4_connected_parts(picture):
    ids = slic(picture, segments=30, compactness=6, sigma=1)
    assert ids.shape == picture.shape[:2]
    assert ids.dtype == np.int32
    assert contiguous(ids)
    assert 15 <= ids.max() + 1 <= 45
    assert (split_regions(ids) == ids).all()


def test_slic_respects_the_borders_that_a_picture_has(picture):
    ids = slic(picture, segments=60, compactness=10, sigma=0)
    square = np.zeros(ids.shape, bool)
    square[12:28, 20:40] = True
    shared = set(ids[square].tolist()) & set(ids[~square].tolist())
    leaked = sum(min((ids[square] == s).sum(), (ids[~square] == s).sum()) for s in shared)
    # scikit-image 0.26: none
    assert leaked < 0.05 * square.sum()


def test_more_than_255_superpixels_are_all_kept(random):
    ids = slic(random.integers(0, 255, (60, 80, 3), np.uint8), segments=700, compactness=500)
    assert ids.max() > 300
    assert contiguous(ids)


def test_felzenszwalb_regions_are_contiguous_ids_of_8_connected_parts(picture):
    ids = felzenszwalb(picture, scale=100, sigma=0.5, min_size=20)
    assert contiguous(ids)
    assert np.bincount(ids.reshape(-1)).min() >= 20
    assert (split_regions(ids, 8) == ids).all()
    # wall, square and floor
    assert ids.max() + 1 >= 3
    assert ids[20, 30] != ids[2, 2] != ids[46, 2]


def test_higher_scale_gives_fewer_regions(picture):
    fine, coarse = (felzenszwalb(picture, scale=s, min_size=5).max() for s in (5, 500))
    assert fine > coarse


@pytest.mark.parametrize("method", [Slic(segments=20), Felzenszwalb(scale=50, min_size=10)])
def test_the_same_picture_gives_the_same_regions(picture, method):
    assert (method(picture).ids == method(picture.copy()).ids).all()
    assert method.identify(picture) == method.identify(picture.copy())
    assert method.identify(picture) != method.identify(picture[::-1])


@pytest.mark.parametrize("size", [(48, 64), (7, 5), (1, 1)])
def test_pictures_of_any_size_are_cut(size):
    image = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
    for method in (Slic(segments=150), Felzenszwalb(min_size=2)):
        assert contiguous(method(image).ids)


def test_working_resolution_brings_ids_back_to_the_pixels_whose_centre_they_hold(picture):
    method = Slic(segments=12, sigma=1, working=32)
    ids = method(picture).ids
    small = method.ids(shrink(picture, 32))
    assert small.shape == (24, 32)
    assert ids.shape == picture.shape[:2]
    assert (ids[::2, ::2] == small).all()
    assert (ids[1::2, 1::2] == small).all()
    assert (split_regions(ids) == ids).all()


def test_enlarging_reads_the_pixel_under_each_centre():
    ids = np.arange(6).reshape(2, 3)
    fine = enlarge(ids, (5, 7))
    for row, column in np.ndindex(5, 7):
        assert fine[row, column] == ids[int((row + 0.5) * 2 / 5), int((column + 0.5) * 3 / 7)]
    assert set(fine.reshape(-1).tolist()) == set(range(6))


def test_small_pictures_are_not_enlarged(picture):
    assert shrink(picture, 500) is picture
    assert shrink(picture[:1], 32).shape == (1, 32, 3)


def test_tree_and_foreground_come_with_the_regions(picture):
    segments = Slic(segments=40, sigma=1, levels=(3, 9), foreground=True)(picture)
    assert segments.levels.shape == (segments.num_regions, 3)
    assert [len(set(column)) for column in segments.levels.T.tolist()] == [
        3,
        9,
        segments.num_regions,
    ]
    assert segments.scores["foreground"].shape == (segments.num_regions,)


@pytest.mark.parametrize(
    "settings",
    [
        {"segments": 0},
        {"compactness": 0},
        {"sigma": -1},
        {"iterations": 0},
        {"iterations": 2.5},
        {"segments": "many"},
        {"segments": True},
        {"sigma": float("nan")},
        {"working": "big"},
        {"levels": 3},
        {"foreground": 1},
        {"working": 0},
        {"levels": (9, 3)},
        {"levels": (0,)},
    ],
)
def test_bad_settings_are_refused(settings):
    with pytest.raises(UsageError, match=next(iter(settings))):
        Slic(**settings)
    if not {"working", "levels"} & set(settings):
        return
    with pytest.raises(UsageError):
        Felzenszwalb(**settings)


def test_bad_settings_of_felzenszwalb_are_refused():
    with pytest.raises(UsageError, match="min_size = 0"):
        Felzenszwalb(min_size=0)


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)]
)
def test_what_is_no_picture_is_refused(image):
    with pytest.raises(UsageError, match=r"needed: \(H, W, 3\) uint8"):
        slic(image)


def test_a_missing_package_is_named(monkeypatch, picture):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("skimage"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=r"pip install 'densecl\[regions\]'"):
        slic(picture)


def test_the_description_holds_every_setting_version_and_release():
    described = Slic(segments=10).describe()
    assert described["type"] == "Slic"
    assert described["segments"] == 10
    assert described["compactness"] == 6.0
    assert described["version"] == 1
    assert described["scikit-image"][0].isdigit()
