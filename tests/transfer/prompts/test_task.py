from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from densecl.data.sample import Frame, Sample
from densecl.errors import UsageError
from densecl.models.contract import Features
from densecl.transfer.features import FrozenInput
from densecl.transfer.prompts.task import LARGE, SMALL, Prompter, PromptSpec

TINY = {"type": "ResNet", "depth": 18, "width": 4}


class Colours(nn.Module):
    """The mean colour of each 4 x 4 patch, centred."""

    def forward(self, x, mask=None):
        return Features({4: nn.functional.avg_pool2d(x, 4)})


class Painted:
    """Objects in colours of their own on grey; two cells of each picture are void."""

    classes = ("thing", "stuff")

    def __init__(self, count=4, labels=True):
        self.count, self.labels = count, labels

    def __len__(self):
        return self.count

    def name(self, index):
        return f"painted/{index}"

    def __getitem__(self, index):
        generator = np.random.default_rng(index)
        ids = np.full((32, 48), -1)
        ids[4:16, 4:20] = 2
        ids[16:28, 24:44] = 7
        ids[0, 0] = 9
        image = np.full((32, 48, 3), 124, np.uint8) + generator.integers(0, 5, (32, 48, 3))
        image[ids == 2] = (250, 20, 20)
        image[ids == 7] = (20, 20, 250)
        maps = {"instance": ids}
        if self.labels:
            maps["label"] = np.where(ids == 7, 1, 0)
            maps["label"][:4, 40:] = 255
        return Sample((Frame(image.astype(np.uint8), maps),), index, self.name(index))


def spec(**settings):
    return PromptSpec(FrozenInput(dict(TINY), strides=(4,)), **settings)


def scored(run, images, backbone=None):
    return run.score(Prompter(backbone or Colours(), 0.5), run.select(images), "cpu")


def test_colours_are_enough_where_objects_have_colours():
    result = scored(spec(), Painted())
    # interpolation rounds corners, and grey is no colour: its direction is that of its noise
    assert result["iou"] > 0.8
    assert result["iou_random"] > 0.8
    assert result["auroc"] > 0.97
    assert [result["same"], result["matched"]] == pytest.approx([1, 1])
    assert result["ovl"] == 0
    # masks of another picture are the same here: no control could tell
    assert result["shuffled"] == pytest.approx(1)
    assert result["objects"] == 8
    assert result["objects_too_small"] == 4
    assert result["images_compared"] == 4
    assert set(result["items"]) == {f"painted/{i}" for i in range(4)}
    assert result["items"]["painted/0"]["objects"] == 2
    assert result["by_class"] == {
        "thing": {"iou": result["by_class"]["thing"]["iou"], "objects": 4},
        "stuff": {"iou": result["by_class"]["stuff"]["iou"], "objects": 4},
    }
    assert {k: v["objects"] for k, v in result["by_size"].items()} == {"large": 8}
    json.dumps(result)


def test_masks_of_another_image_tell_content_from_place():
    class Moved(Painted):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            frame = sample.frames[0]
            for values in (frame.image, *frame.maps.values()):
                values[:] = np.roll(values, 24 * index, axis=1)
            return sample

    result = scored(spec(), Moved())
    assert result["same"] == pytest.approx(1)
    assert result["shuffled"] < 0.7


def test_the_curve_the_fixed_threshold_and_the_bound_agree():
    result = scored(spec(), Painted())
    curve = result["curves"]["deepest point"]
    assert len(curve["x"]) == len(curve["y"]) == 51
    assert result["iou_fixed"] == pytest.approx(curve["y"][25])
    assert curve["x"][25] == 0.5
    assert result["threshold"] == curve["x"][int(np.argmax(curve["y"]))]
    assert result["iou_oracle"] >= max(curve["y"]) - 1e-12 >= result["iou"] - 1e-12
    assert len(scored(spec(step=0.1), Painted())["curves"]["random points"]["x"]) == 11


def test_features_that_are_all_alike_score_the_areas():
    class Constant(nn.Module):
        def forward(self, x, mask=None):
            return Features({4: torch.ones(len(x), 3, x.shape[2] // 4, x.shape[3] // 4)})

    result = scored(spec(void=False), Painted(), Constant())
    share = (12 * 16 + 12 * 20) / 2 / (32 * 48)
    for key in ("iou", "iou_random", "iou_fixed", "iou_oracle"):
        assert result[key] == pytest.approx(share)
    for key in ("auroc", "same", "matched", "shuffled"):
        assert result[key] == pytest.approx(0.5)
    assert result["ovl"] == 1
    assert result["dprime"] == 0


def test_ignored_labels_are_void_unless_they_mean_no_object():
    assert (spec().select(Painted())[0].ids == -2).sum() == 4 * 8
    assert (spec(void=False).select(Painted())[0].ids == -2).sum() == 0
    bare = spec().select(Painted(labels=False))[0]
    assert bare.labels == {}
    assert bare.objects == [2, 7, 9]
    assert scored(spec(), Painted(labels=False))["by_class"] == {}


def test_two_images_with_an_object_are_needed():
    with pytest.raises(UsageError, match="an object in each half"):
        scored(spec(), Painted(1))
    with pytest.raises(UsageError, match="0 objects in 0 of 2 images"):
        scored(spec(min_cells=1000.0), Painted(2))

    class Bare(Painted):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            del sample.frames[0].maps["instance"]
            return sample

    with pytest.raises(UsageError, match="painted/0 carries no object ids"):
        spec().select(Bare())[0]


def test_a_whole_run_keeps_its_threshold():
    run = PromptSpec(
        FrozenInput(dict(TINY), strides=(8,), resize=(64, 96)), stage_strides=(1, 2, 1, 2)
    )
    items = run.select(Painted())
    result, trained = run.run(None, None, items, seed=0, device="cpu")
    assert set(result) >= {column.key for column in run.columns}
    assert result["feature_difference"] == 0
    assert result["diverged"] is False
    again = run.restore(trained.state_dict(), None, seed=0, device="cpu")
    assert again.threshold == pytest.approx(result["threshold"])
    scores = run.score(again, items, "cpu")
    assert scores["iou"] == result["iou"]
    assert trained.backbone.channels == {4: 4, 8: 16, 16: 32}
    assert items[0].image.shape == (64, 96, 3)
    assert run.at(0.0) is run
    json.dumps(run.to_dict())


def test_columns_say_which_way_is_better():
    better = {column.key: column.better for column in PromptSpec.columns}
    assert better.pop("ovl") == "lower"
    assert [key for key, way in better.items() if way == "none"] == ["iou_oracle", "shuffled"]
    assert next(iter(better)) == "iou"
    assert "upper bound" in next(c.title for c in PromptSpec.columns if c.key == "iou_oracle")


def test_sizes_are_those_of_coco():
    assert pytest.approx(0.00333, abs=1e-5) == SMALL
    assert pytest.approx(0.03) == LARGE


@pytest.mark.parametrize(
    "settings", [{"step": 0.0}, {"step": 0.6}, {"prompts": 0}, {"min_cells": 0.0}]
)
def test_settings_that_mean_nothing_are_refused(settings):
    with pytest.raises(UsageError, match=r"prompts\."):
        spec(**settings)


def test_pictures_hold_a_line_for_each_object():
    run = spec()
    figures = run.pictures(
        {"one": Prompter(Colours(), 0.5), "two": Prompter(Colours(), 0.9)},
        run.select(Painted(2)),
        "cpu",
    )
    assert set(figures) == {"painted_0", "painted_1"}
    figure = figures["painted_0"]
    assert figure.dtype == np.uint8
    # two objects and captions; five pictures of 225 and four gaps
    assert figure.shape == (20 + 2 * 150 + 4, 5 * 225 + 16, 3)
