"""``Streets`` as a data set: ranges, names, boxes, subsets, persistence of ids."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from densecl.data.streets import (
    CLASSES,
    IGNORE,
    PALETTE,
    WORLD_VERSION,
    Streets,
    contact_sheet,
)
from densecl.data.streets.sheet import depth_colours, flow_colours, label_colours
from densecl.data.streets.splits import moment
from densecl.errors import UsageError
from densecl.registry import DATASETS

SIZE = (48, 64)


@pytest.fixture(scope="module")
def clips():
    return Streets("val", 6, SIZE, clip_length=2, cache=False)


@pytest.fixture(scope="module")
def samples(clips):
    return [clips[k] for k in range(len(clips))]


def test_frames_have_the_promised_types(clips, samples):
    for k, sample in enumerate(samples):
        assert sample.name == clips.name(k)
        assert sample.source == k
        assert len(sample.frames) == 2
        for frame in sample.frames:
            assert frame.image.shape == (*SIZE, 3)
            assert frame.image.dtype == np.uint8
            label = frame.maps["label"]
            assert np.isin(label, [*range(len(CLASSES)), IGNORE]).all()
            assert frame.maps["instance"].min() >= -1
        assert sample.frames[0].flow.shape == (*SIZE, 2)
        assert sample.frames[0].flow.dtype == np.float32
        assert sample.frames[1].flow is None


def test_all_classes_occur_in_a_few_pictures():
    data = Streets("val", 24, SIZE, cache=False)
    seen = set()
    for k in range(24):
        seen |= set(np.unique(data[k].frames[0].maps["label"]).tolist())
    assert seen >= set(range(11))


def test_an_instance_has_one_class_that_lasts(samples):
    shared = 0
    for sample in samples:
        classes = {}
        for frame in sample.frames:
            label, instance = frame.maps["label"], frame.maps["instance"]
            for i in np.unique(instance[instance >= 0]):
                kinds = set(np.unique(label[instance == i]).tolist())
                assert len(kinds) == 1
                shared += i in classes
                assert classes.setdefault(int(i), kinds) == kinds
    assert shared > 30, "ids must persist from frame to frame"


def test_stuff_without_objects_has_no_instance(samples):
    frame = samples[0].frames[0]
    stuff = np.isin(frame.maps["label"], [CLASSES.index(c) for c in ("sky", "road", "pavement")])
    assert (frame.maps["instance"][stuff] == -1).all()
    things = np.isin(frame.maps["label"], [1, 2, 5, 6, 7, 8, 9, 10])
    assert (frame.maps["instance"][things] >= 0).all()


def test_boxes_are_tight_around_the_instance_map(clips, samples):
    for k in (0, 1):
        for t in (0, 1):
            instance = samples[k].frames[t].maps["instance"]
            boxes = clips.boxes(k, t)
            assert [b.instance for b in boxes] == sorted(set(instance[instance >= 0].tolist()))
            for box in boxes:
                x0, y0, x1, y1 = box.box
                mask = instance == box.instance
                assert mask.sum() == mask[y0:y1, x0:x1].sum() > 0
                inner = mask[y0:y1, x0:x1]
                assert inner[0].any()
                assert inner[-1].any()
                assert inner[:, 0].any()
                assert inner[:, -1].any()


def test_3d_boxes_hold_the_visible_points(clips, samples):
    checked = 0
    for k in range(6):
        camera, depth = clips.camera(k), clips.depth(k)
        instance = samples[k].frames[0].maps["instance"]
        for box in clips.boxes(k):
            if box.centre is None:
                continue
            row, column = np.nonzero(instance == box.instance)
            way = camera.directions(np.stack([column + 0.5, row + 0.5], -1))
            points = camera.position + depth[row, column, None] * way - np.array(box.centre)
            c, s = np.cos(box.yaw), np.sin(box.yaw)
            local = points @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
            # Swinging limbs may leave a person's box by a hand or a foot.
            slack = 0.06 if box.label == 8 else 0.45
            assert (np.abs(local) <= np.array(box.extent) / 2 + slack).all()
            checked += 1
    assert checked > 10


def test_depth_matches_the_labels(clips, samples):
    for k in range(3):
        depth, label = clips.depth(k), samples[k].frames[0].maps["label"]
        assert depth.dtype == np.float32
        np.testing.assert_array_equal(np.isinf(depth), label == 0)
        assert depth[np.isfinite(depth)].min() > 0.2


def test_camera_times_step_by_the_clip_gap(clips):
    assert clips.camera(0, 1).time - clips.camera(0, 0).time == pytest.approx(0.15)
    with pytest.raises(IndexError):
        clips.camera(0, 2)


def test_a_shorter_set_is_the_beginning_of_a_longer_one(samples):
    short = Streets("val", 2, SIZE, clip_length=2, cache=False)
    np.testing.assert_array_equal(short[1].frames[0].image, samples[1].frames[0].image)
    assert short.name(1) == samples[1].name


def test_another_seed_is_another_world(samples):
    other = Streets("val", 1, SIZE, seed=1, cache=False)[0]
    assert (other.frames[0].image != samples[0].frames[0].image).mean() > 0.5


def test_the_horizon_varies():
    heights = []
    for k in range(24):
        camera = moment("val", 12 * k).load(0).camera(0.0, SIZE)
        level = camera.rotation[2] * [1, 1, 0]
        heights.append(camera.project(camera.position + 1e4 * level)[0][1] / SIZE[0])
    # A fortieth of the height would be a fixed camera on a bumpy road.
    assert np.std(heights) > 0.06


def test_fraction_subsets_are_nested():
    few = Streets("train", 100, SIZE, cache=False, subset=0.05)
    more = Streets("train", 100, SIZE, cache=False, subset=0.2)
    assert (len(few), len(more)) == (5, 20)
    assert set(few.indices) < set(more.indices)
    assert few.fingerprint() != more.fingerprint()


def test_the_fingerprint_names_the_content(monkeypatch):
    base = Streets("val", 5, SIZE, cache=False)
    assert base.fingerprint() == Streets("val", 5, SIZE, cache=False).fingerprint()
    for change in ({"seed": 1}, {"size": (48, 72)}, {"clip_length": 2}, {"length": 6}):
        options = {"length": 5, "size": SIZE, **change}
        assert Streets("val", cache=False, **options).fingerprint() != base.fingerprint()
    before = base.fingerprint()
    monkeypatch.setattr("densecl.data.streets.dataset.WORLD_VERSION", "other")
    assert base.fingerprint() != before


def test_subset_by_names_and_by_file(tmp_path):
    whole = Streets("train", 30, SIZE, cache=False)
    names = [whole.name(7), whole.name(2)]
    path = tmp_path / "list.txt"
    path.write_text("\n".join(names) + "\n\n")
    for subset in (names, path, str(path)):
        data = Streets("train", 30, SIZE, cache=False, subset=subset)
        assert [data.name(k) for k in range(len(data))] == names
        assert data.fingerprint() != whole.fingerprint()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"subset": 1.5}, "subset=1.5"),
        ({"subset": ["train/town99/drive000/000000"]}, "town99"),
        ({"subset": "/no/such/list"}, "does not exist"),
        ({"subset": []}, "empty"),
        ({"length": 0}, "length=0"),
        ({"clip_length": 0}, "clip_length=0"),
        ({"size": (4, 160)}, r"\(4, 160\)"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(UsageError, match=message):
        Streets("train", **{"cache": False, **options})


def test_index_outside_is_an_index_error(clips):
    with pytest.raises(IndexError):
        clips[6]


def test_registered_and_picklable(tmp_path):
    data = DATASETS.build(
        {"type": "Streets", "split": "val", "length": 1, "size": (12, 16), "cache": tmp_path}
    )
    first = data[0].frames[0].image
    copy = pickle.loads(pickle.dumps(data))
    np.testing.assert_array_equal(copy[0].frames[0].image, first)
    assert copy.fingerprint() == data.fingerprint()


def test_images_are_writable_copies(tmp_path):
    data = Streets("val", 1, (12, 16), cache=tmp_path)
    frame = data[0].frames[0]
    before = frame.image.copy()
    frame.image[:] = 0
    np.testing.assert_array_equal(data[0].frames[0].image, before)


def test_contact_sheet_shows_every_companion(clips):
    sheet = contact_sheet(clips, count=3, columns=2)
    assert sheet.shape == (2 * SIZE[0], 2 * 4 * SIZE[1], 3)
    assert sheet.dtype == np.uint8
    np.testing.assert_array_equal(sheet[: SIZE[0], : SIZE[1]], clips[0].frames[0].image)
    assert not sheet[SIZE[0] :, 4 * SIZE[1] :].any(), "the missing cell is black"


def test_label_colours_use_the_palette_and_black():
    picture = label_colours(np.array([[0, 10, IGNORE]]))
    assert picture.tolist() == [[list(PALETTE[0]), list(PALETTE[10]), [0, 0, 0]]]


def test_flow_and_depth_colours_mark_holes_grey():
    flow = np.full((2, 2, 2), np.nan, np.float32)
    flow[0, 0] = (3, 0)
    assert (flow_colours(flow)[1, 1] == 60).all()
    assert (flow_colours(flow)[0, 0] != 60).any()
    assert (flow_colours(np.full((2, 2, 2), np.nan)) == 60).all()
    assert (depth_colours(np.array([[np.inf, 2.0]]))[0, 0] == 60).all()


def test_it_says_its_classes_colours_and_version_like_any_labelled_data_set():
    world = Streets("val", length=1, cache=False)
    assert len(world.classes) == len(world.palette) == 11
    assert world.version == WORLD_VERSION
    assert set(np.unique(world[0].frames[0].maps["label"])) <= {*range(11), 255}
