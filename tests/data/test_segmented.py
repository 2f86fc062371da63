from __future__ import annotations

import io
import pickle

import cv2
import numpy as np
import pytest
import torch

from densecl.data import ImageFolder, Streets, WithSegments, build_loader
from densecl.errors import UsageError
from densecl.pairs import PointSet
from densecl.regions import EntryError, Pictures, SegmentStore, Slic, build
from densecl.registry import DATASETS
from densecl.views import ViewGenerator

METHOD = Slic(segments=12, sigma=0.5, levels=(3,), foreground=True)


@pytest.fixture
def folder(tmp_path):
    """Four pictures of blocks."""
    (tmp_path / "pictures").mkdir()
    random = np.random.default_rng(1)
    for number in range(4):
        blocks = random.integers(0, 255, (4, 5, 3), np.uint8)
        picture = np.kron(blocks, np.ones((8, 8, 1), np.uint8))
        assert cv2.imwrite(str(tmp_path / "pictures" / f"{number}.png"), picture)
    return tmp_path / "pictures"


@pytest.fixture
def store(folder):
    return fill(ImageFolder(folder), folder.parent / "store")


def fill(dataset, out, method=METHOD):
    store = SegmentStore.create(out, kind="image", method=method.describe())
    build(store, Pictures(dataset), method, stream=io.StringIO())
    return store


def test_samples_carry_the_stored_regions(folder, store):
    data = WithSegments(ImageFolder(folder), store.folder)
    assert len(data) == 4
    for index in range(4):
        (frame,) = data[index].frames
        assert (frame.maps["region"] == METHOD(frame.image).ids).all()
        assert data.name(index) == data[index].name == f"{index}.png"
    assert set(data[0].frames[0].maps) == {"region"}


def test_tree_and_foreground_are_carried_where_asked_for(folder, store):
    data = WithSegments(ImageFolder(folder), store.folder, levels=True, foreground=0.5)
    (frame,) = data[0].frames
    segments = METHOD(frame.image)
    assert (frame.maps["region/0"] == segments.levels[segments.ids, 0]).all()
    assert (frame.maps["region/1"] == segments.ids).all()
    above = segments.scores["foreground"][segments.ids] > 0.5
    assert (frame.maps["foreground"] == above).all()


def test_the_config_names_the_inner_data_set(folder, store):
    config = {
        "type": "WithSegments",
        "dataset": {"type": "ImageFolder", "root": str(folder)},
        "store": str(store.folder),
        "method": {"type": "Slic", "segments": 12},
    }
    data = DATASETS.build(config)
    assert data[0].frames[0].maps["region"].max() > 3
    with pytest.raises(UsageError, match=r"data\.dataset has type 'Nothing'"):
        WithSegments({"type": "Nothing"}, store.folder)


def test_views_carry_the_regions_by_the_nearest_pixel_to_the_rows(folder, store):
    """What the loader yields is the map of the crop, and a row's region is that of its pixel."""
    data = WithSegments(ImageFolder(folder), store.folder)
    generator = ViewGenerator("mocov2", size=24, num_views=2, rotation=20.0)
    view = next(iter(build_loader(data, generator, 4, num_workers=2)))[0]
    found = view.maps["region"]
    assert found.dtype == torch.int64
    centres = torch.stack(
        torch.meshgrid(torch.arange(24) + 0.5, torch.arange(24) + 0.5, indexing="xy"), dim=-1
    ).reshape(1, -1, 2)
    places = view.geometry.to_canonical(centres.expand(4, -1, -1)).reshape(4, 24, 24, 2)
    for sample in range(4):
        ids = data[int(view.source[sample])].frames[0].maps["region"]
        for row, column in ((0, 0), (5, 17), (12, 12), (23, 3)):
            x, y = places[sample, row, column].tolist()
            inside = 0 <= x < ids.shape[1] and 0 <= y < ids.shape[0]
            expected = ids[int(y), int(x)] if inside else -1
            assert found[sample, row, column] == expected
    rows = PointSet.from_view({"x": torch.zeros(4, 1, 24, 24)}, view)
    assert (rows.regions["region"] == found.reshape(-1)).all()
    assert (found == -1).any()


def test_the_frames_of_a_clip_have_regions_of_their_own(tmp_path):
    world = Streets("val", length=2, size=(24, 32), clip_length=2, cache=False)
    method = Slic(segments=8, sigma=0)
    store = fill(world, tmp_path / "store", method)
    assert len(store) == 4
    data = WithSegments(world, store.folder)
    for frame in data[1].frames:
        assert (frame.maps["region"] == method(frame.image).ids).all()
        assert {"label", "instance", "region"} <= set(frame.maps)
    assert data.classes == world.classes


def test_a_picture_that_was_replaced_is_refused_with_the_command(folder, store):
    image = cv2.imread(str(folder / "2.png"))
    image[0, 0] ^= 1
    cv2.imwrite(str(folder / "2.png"), image)
    data = WithSegments(ImageFolder(folder), store.folder)
    assert data[1].frames[0].maps["region"].shape == (32, 40)
    with pytest.raises(EntryError, match=r"(?s)2.png is not what it was.*densecl segments build"):
        data[2]
    # the size is all that is compared here
    assert WithSegments(ImageFolder(folder), store.folder, check="shape")[2]
    cv2.imwrite(str(folder / "2.png"), image[:-1])
    with pytest.raises(EntryError, match=r"of 2.png are \(32, 40\), the image \(31, 40\)"):
        WithSegments(ImageFolder(folder), store.folder, check="shape")[2]


def test_a_store_that_lacks_pictures_is_refused_before_the_run(folder, store):
    cv2.imwrite(str(folder / "new.png"), np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(EntryError, match=r"lacks 1 of 5 images, the first is new.png"):
        WithSegments(ImageFolder(folder), store.folder)


def test_unreadable_files_may_be_skipped(folder, store):
    (folder / "1b.png").write_bytes(b"no picture")
    data = WithSegments(ImageFolder(folder, on_error="skip"), store.folder)
    assert data[2].name == "2.png"
    assert data.skipped == ["1b.png"]
    assert data.name(2) == "1b.png"


def test_other_settings_are_refused(folder, store):
    with pytest.raises(UsageError, match="segments = 12, asked for 150"):
        WithSegments(ImageFolder(folder), store.folder, method={"segments": 150})
    with pytest.raises(UsageError, match=r"data\.check='hash'"):
        WithSegments(ImageFolder(folder), store.folder, check="hash")
    with pytest.raises(UsageError, match="is no segment store"):
        WithSegments(ImageFolder(folder), folder)
    plain = fill(ImageFolder(folder), folder.parent / "plain", Slic(segments=12))
    for setting in ({"levels": True}, {"foreground": 0.5}):
        with pytest.raises(UsageError, match=rf"data\.{next(iter(setting))} is set, but the store"):
            WithSegments(ImageFolder(folder), plain.folder, **setting)
    clouds = SegmentStore.create(folder.parent / "c", kind="cloud", method={})
    with pytest.raises(UsageError, match="of clouds, not of images"):
        WithSegments(ImageFolder(folder), clouds.folder)


def test_the_fingerprint_follows_data_and_settings(folder, store):
    def fingerprint(out, **settings):
        return WithSegments(ImageFolder(folder), out, **settings).fingerprint()

    other = fill(ImageFolder(folder), folder.parent / "other", Slic(segments=20))
    found = {
        fingerprint(store.folder),
        fingerprint(store.folder, levels=True),
        fingerprint(store.folder, foreground=0.5),
        fingerprint(other.folder),
    }
    assert len(found) == 4
    assert fingerprint(store.folder) == fingerprint(store.folder, check="shape")


def test_it_travels_into_workers(folder, store):
    data = pickle.loads(pickle.dumps(WithSegments(ImageFolder(folder), store.folder)))
    assert data[0].frames[0].maps["region"].max() > 3
    with pytest.raises(AttributeError):
        data.nothing  # noqa: B018
