from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from densecl.data.davis import Davis
from densecl.data.sample import Frame, Sample
from densecl.errors import UsageError
from densecl.models.contract import Features
from densecl.transfer.columns import Column
from densecl.transfer.features import FrozenInput
from densecl.transfer.propagation.clips import Clip, Clips
from densecl.transfer.propagation.scores import score_video
from densecl.transfer.propagation.task import PRESETS, PropagationSpec
from densecl.transfer.untrained import Restored

TINY = {"type": "ResNet", "depth": 18, "width": 4}


class Patches(nn.Module):
    """Each 4 x 4 patch is its own feature."""

    def forward(self, x, mask=None):
        return Features({4: nn.functional.pixel_unshuffle(x, 4)})


class Videos:
    """Noise that moves to the right by ``step`` pixels a frame, with a square on it."""

    def __init__(self, count=2, length=5, size=(32, 48), step=4):
        self.count, self.length, self.size, self.step = count, length, size, step

    def __len__(self):
        return self.count

    def name(self, index):
        return f"noise/{index}"

    def __getitem__(self, index):
        generator = np.random.default_rng(index)
        image = generator.integers(0, 256, (*self.size, 3)).astype(np.uint8)
        ids = np.full(self.size, -1)
        ids[8:20, 8:20] = 3
        ids[24:28, 4:12] = 8
        frames = (
            Frame(
                np.roll(image, t * self.step, axis=1),
                {"instance": np.roll(ids, t * self.step, axis=1)},
            )
            for t in range(self.length)
        )
        return Sample(tuple(frames), index, self.name(index))


def spec(**settings):
    settings = {"short_side": None, "stage_strides": (), "stride": 4, "radius": 4.0, **settings}
    return PropagationSpec(FrozenInput(dict(TINY)), **settings)


def scored(run, videos):
    return run.score(Restored(Patches()), run.select(videos), "cpu")


def test_moving_objects_are_followed_and_beat_the_first_mask():
    result = scored(spec(), Videos())
    # blocks of whole cells: only the interpolation between them rounds their corners
    assert result["jf"] > 0.9
    assert result["still"] < 0.6
    assert result["objects"] == 4
    assert result["objects_without_a_cell"] == 0
    assert scored(spec(), Videos(step=0))["still"] == 1


def test_scores_are_means_over_objects_not_over_videos():
    run = spec()
    videos = Videos()
    result = scored(run, videos)
    clips = run.select(videos)
    j, f = [], []
    for position in range(2):
        clip = clips[position]
        masks, cells = run.masks(Restored(Patches()), clip, (3, 8))
        assert masks.shape == clip.ids.shape
        assert (masks[0] == clip.ids[0]).all()
        assert cells == [9, 2]
        found = score_video(masks, clip.ids, (3, 8)).means
        j, f = [*j, *found[0]], [*f, *found[1]]
    assert result["j"] == pytest.approx(np.mean(j))
    assert result["f"] == pytest.approx(np.mean(f))
    assert result["jf"] == pytest.approx((np.mean(j) + np.mean(f)) / 2)
    assert set(result["items"]) == {"noise/0", "noise/1"}
    assert result["items"]["noise/0"]["j"] == pytest.approx(np.mean(j[:2]))


def test_small_objects_can_be_left_out():
    run = spec(min_pixels=100)
    assert run.select(Videos())[0].objects(100) == (3,)
    assert scored(run, Videos())["objects"] == 2
    assert scored(spec(max_objects=1), Videos())["objects"] == 2
    with pytest.raises(UsageError, match="none of 2 videos has an object"):
        scored(spec(min_pixels=10_000), Videos())


def test_an_object_that_hides_between_the_centres_is_counted():
    class Dots(Videos):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            sample.frames[0].maps["instance"][0, 0] = 77
            return sample

    result = scored(spec(), Dots(count=1))
    assert result["objects"] == 3
    assert result["objects_without_a_cell"] == 1


def test_a_video_without_objects_is_passed_over_and_counted():
    class Some(Videos):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            if index:
                for frame in sample.frames:
                    frame.maps["instance"][:] = -1
            return sample

    result = scored(spec(), Some())
    assert result["videos_without_an_object"] == 1
    assert list(result["items"]) == ["noise/0"]


def test_void_is_not_scored_and_is_no_object():
    class Veiled(Videos):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            for frame in sample.frames:
                ids = frame.maps["instance"]
                ids[ids == 8] = -2
            return sample

    clip = spec().select(Veiled())[0]
    assert clip.objects() == (3,)
    assert clip.void.sum() == 5 * 32
    assert spec().select(Videos())[0].void is None


def test_ties_in_size_keep_the_lower_id():
    clip = Clip(np.zeros((3, 4, 4, 3), np.uint8), np.array([[[5, 5, 2, 2, 9, -1]]] * 3))
    assert clip.objects(1, 1) == (2,)
    assert clip.objects(2) == (2, 5)


def test_a_whole_run_does_not_depend_on_the_batch_and_leaves_nothing_to_keep(tmp_path):
    results = []
    for batch in (1, 16):
        run = PropagationSpec(
            FrozenInput(dict(TINY), batch=batch), short_side=None, context=2, radius=3.0
        )
        result, trained = run.run(None, None, run.select(Videos()), seed=0, device="cpu")
        assert set(result) >= {column.key for column in run.columns}
        assert result["feature_difference"] == 0
        assert result["diverged"] is False
        results.append(result["jf"])
    assert results[0] == pytest.approx(results[1], abs=1e-3)
    assert trained.state_dict() == {}
    assert run.input.strides == (8,)
    assert trained.backbone.channels == {4: 4, 8: 16, 16: 32}
    again = run.restore({}, None, seed=0, device="cpu")
    assert run.score(again, run.select(Videos()), "cpu")["jf"] == results[1]
    other, _ = run.run(None, None, run.select(Videos()), seed=1, device="cpu")
    assert other["jf"] != results[1]
    assert run.at(0.0, 3) is run
    json.dumps(result)


def test_presets_are_the_published_settings():
    vfs = spec(stage_strides=(1, 2, 1, 2), short_side=480, radius=12.0)
    assert (vfs.context, vfs.top_k, vfs.temperature, vfs.neighbourhood) == (20, 10, 0.07, "circle")
    assert vfs.first
    assert vfs.first_twice
    assert PRESETS["vfs-r50"]["radius"] == 18
    dino = PropagationSpec(FrozenInput(dict(TINY)), preset="dino")
    assert (dino.context, dino.top_k, dino.temperature) == (7, 5, 0.1)
    assert (dino.neighbourhood, dino.radius, dino.first_twice) == ("square", 12, False)
    assert dino.input.strides is None
    assert dino.stage_strides == ()
    changed = PropagationSpec(FrozenInput(dict(TINY)), preset="dino", top_k=7)
    assert changed.top_k == 7
    assert changed == replace(dino, top_k=7)


def test_the_protocol_holds_every_setting_and_no_name_for_them():
    values = spec().to_dict()
    assert json.loads(json.dumps(values))["input"]["strides"] == [4]
    assert "preset" not in values
    assert not any(value == "of the preset" for value in values.values())
    spelled = {name: getattr(spec(), name) for name in PRESETS["dino"]}
    assert spec(**{**spelled, "preset": "dino"}).to_dict() == values


def test_the_map_that_input_names_goes_first():
    run = PropagationSpec(FrozenInput(dict(TINY), strides=(16,)))
    assert run.input.strides == (16,)


def test_frames_are_resized_and_masks_are_not():
    clip = PropagationSpec(FrozenInput(dict(TINY)), short_side=64).select(Videos())[0]
    assert clip.images.shape == (5, 64, 96, 3)
    assert clip.ids.shape == (5, 32, 48)
    given = PropagationSpec(FrozenInput(dict(TINY), resize=(16, 16)), short_side=64)
    assert given.select(Videos())[0].images.shape == (5, 16, 16, 3)


def test_columns():
    assert PropagationSpec.columns[0] == Column("jf", "J&F")
    assert [column.better for column in PropagationSpec.columns] == ["higher"] * 3 + ["none"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preset": "vfs"}, "vfs-r18, vfs-r50, dino"),
        ({"top_k": 0}, "top_k"),
        ({"context": 0}, "context"),
        ({"temperature": 0.0}, "temperature"),
        ({"radius": 0.5}, "radius"),
        ({"neighbourhood": "disc"}, "circle, square or all"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        spec(**settings)


def test_videos_that_cannot_be_scored_are_named():
    with pytest.raises(UsageError, match="noise/0 has 2 frames"):
        spec().select(Videos(length=2))[0]

    class Bare(Videos):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            del sample.frames[2].maps["instance"]
            return sample

    with pytest.raises(UsageError, match="noise/0 has a frame without object ids"):
        spec().select(Bare())[0]


def test_pictures_hold_a_line_for_each_row():
    run = spec()
    items = run.select(Videos())
    rows = {"one": Restored(Patches()), "two": Restored(Patches())}
    figures = run.pictures(rows, items, "cpu")
    assert set(figures) == {"noise_0", "noise_1"}
    shorter = run.pictures({"one": rows["one"]}, items, "cpu")["noise_0"]
    figure = figures["noise_0"]
    assert figure.dtype == np.uint8
    assert figure.shape[1] == shorter.shape[1]
    assert figure.shape[0] > 1.4 * shorter.shape[0]


def test_a_long_video_is_shown_from_its_beginning():
    lengths = []

    class Counted(PropagationSpec):
        def masks(self, trained, clip, objects):
            lengths.append(len(clip.images))
            return super().masks(trained, clip, objects)

    run = Counted(FrozenInput(dict(TINY)), short_side=None, stage_strides=(), stride=4)
    items = run.select(Videos(count=1, length=30, size=(16, 24)))
    assert set(run.pictures({"one": Restored(Patches())}, items, "cpu")) == {"noise_0"}
    assert lengths == [24]


def test_clips_are_decoded_once_while_they_fit():
    clips = Clips(Videos())
    assert clips[0] is clips[0]
    assert clips.size_of(clips[0]) == 5 * 32 * 48 * (3 + 4)


def test_real_videos():
    root = Path(os.environ.get("DENSECL_TEST_DATA", "")) / "davis16val_240p"
    if not os.environ.get("DENSECL_TEST_DATA") or not root.is_dir():
        pytest.skip("DENSECL_TEST_DATA names no folder with davis16val_240p")
    videos = Davis(root, edition="2016", names=["cows"], frames=4)
    run = PropagationSpec(FrozenInput(dict(TINY)), short_side=240)
    result, _ = run.run(None, None, run.select(videos), seed=0, device="cpu")
    # four frames of a slow animal: any features keep most of it
    assert result["objects"] == 1
    assert 0.5 < result["j"] < 1
    assert 0.5 < result["still"] < 1
    with pytest.raises(UsageError, match="edition"):
        run.score(Restored(torch.nn.Identity()), run.select(Davis(root, names=["cows"])), "cpu")
