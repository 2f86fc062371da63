from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from densecl.data.sample import Frame, Sample
from densecl.errors import UsageError
from densecl.models.contract import Features
from densecl.transfer.correspondence import Tally, correspondence_recall, view_targets
from densecl.transfer.correspondence_pictures import CLOSE, FAR, LEFT_OUT, NEAR, verdicts
from densecl.transfer.correspondence_task import CorrespondenceSpec
from densecl.transfer.features import FrozenInput
from densecl.transfer.untrained import Restored
from densecl.views import ViewGenerator
from densecl.views.geometry import Affine
from densecl.views.view import View

TINY = {"type": "ResNet", "depth": 18, "width": 4}


class Patches(nn.Module):
    """Each 4 x 4 patch is its own feature."""

    def forward(self, x, mask=None):
        return Features({4: nn.functional.pixel_unshuffle(x, 4)})


class Clips:
    """Noise whose second frame shows it ``moved`` pixels further right."""

    def __init__(self, count=3, size=(32, 48), moved=8, flow=True):
        self.count, self.size, self.moved, self.flow = count, size, moved, flow

    def __len__(self):
        return self.count

    def name(self, index):
        return f"clip/{index}"

    def __getitem__(self, index):
        height, width = self.size
        image = np.random.default_rng(index).integers(0, 256, (height, width, 3)).astype(np.uint8)
        flow = np.full((height, width, 2), np.nan, np.float32)
        flow[:, : width - self.moved] = (self.moved, 0)
        second = np.roll(image, self.moved, axis=1)
        frames = Frame(image, flow=flow if self.flow else None), Frame(second)
        return Sample(frames, index, self.name(index))


def spec(**settings):
    strides = settings.pop("strides", (4,))
    resize = settings.pop("resize", None)
    return CorrespondenceSpec(FrozenInput(dict(TINY), strides=strides, resize=resize), **settings)


def scored(run, clips, backbone=None):
    return run.score(Restored(backbone or Patches()), run.select(clips), "cpu")


def test_whole_cell_motion_is_found_exactly():
    result = scored(spec(), Clips())
    assert result["recall_1"] == result["recall_2"] == 1
    assert (result["still_1"], result["still_2"]) == (0, 1)
    assert result["cells"] == 3 * 8 * 10
    assert 0 < result["chance_1"] < result["chance_2"] < 0.15
    assert result["items"]["clip/1"]["recall_1"] == 1
    assert result["items"]["clip/1"]["cells"] == 80
    assert scored(spec(min_motion=3.0), Clips(moved=12))["still_2"] == 0


def test_frames_are_matched_as_by_the_plain_function():
    clips = Clips(moved=5)
    backbone = FrozenInput(dict(TINY)).open(None, 0, "cpu")
    for shift in ((0, 0), (16, 8)):
        result = scored(spec(strides=(8,), shift=shift), clips, backbone)
        plain = correspondence_recall(backbone, [clips[i] for i in range(3)], stride=8, shift=shift)
        assert result["cells"] == plain.queries
        for radius in (1, 2):
            assert result[f"recall_{radius}"] == pytest.approx(plain.recall[radius])
            assert result[f"chance_{radius}"] == pytest.approx(plain.chance[radius])
            assert result[f"still_{radius}"] == pytest.approx(plain.still[radius])


def test_resized_frames_keep_their_flow():
    result = scored(spec(resize=(64, 96)), Clips())
    assert result["recall_1"] > 0.9
    shifted = spec(resize=(64, 96), shift=(16, 8)).select(Clips())[0]
    assert [image.shape for image in shifted.images] == [(48, 64, 3)] * 2


def test_two_views_show_the_same_ground():
    run = spec(other="view", recipe="none", view_size=(32, 48))
    result = scored(run, Clips())
    assert result["recall_1"] == result["still_1"] == 1
    assert result["cells"] == 3 * 8 * 12


def test_views_are_matched_by_what_they_show():
    class Smooth(Clips):
        def __getitem__(self, index):
            y, x = np.mgrid[:64, :64] * 3
            image = np.stack([x, y, 255 - x], axis=2).astype(np.uint8)
            return Sample((Frame(image),), index, self.name(index))

    class Colour(nn.Module):
        def forward(self, x, mask=None):
            constant = torch.ones_like(x[:, :1])
            return Features({4: nn.functional.avg_pool2d(torch.cat([x, constant], 1), 4)})

    plain = {"base": "none", "crop": True, "scale": (0.4, 0.9), "hflip": 0.5}
    run = spec(other="view", recipe=plain, view_size=(48, 48), min_overlap=0.5)
    result = scored(run, Smooth(8), Colour())
    assert result["recall_2"] > 0.9
    assert result["recall_2"] > result["still_2"] + 0.3
    again = scored(run, Smooth(8), Colour())
    assert result == again
    other = spec(other="view", recipe=plain, view_size=(48, 48), min_overlap=0.5, draw=1)
    assert scored(other, Smooth(8), Colour())["cells"] != result["cells"]


def test_view_targets_against_both_boxes():
    image = torch.zeros(3, 16, 24, dtype=torch.uint8)
    small = torch.zeros(3, 8, 8, dtype=torch.uint8)
    one = View(image, Affine.from_crop((2, 4, 26, 20), (16, 24)), 0, (40, 40))
    two = View(small, Affine.from_crop((10, 0, 26, 16), (8, 8), hflip=True), 0, (40, 40))
    target, visible = view_targets(one, two, (4, 6), (2, 4))
    for i in range(4):
        for j in range(6):
            x, y = 2 + (j + 0.5) * 4, 4 + (i + 0.5) * 4  # in the frame
            x2, y2 = (26 - x) / 2, y / 2  # in the second view, mirrored
            at = i * 6 + j
            assert visible[at].item() == (0 <= x2 < 8 and 0 <= y2 < 8)
            assert target[at].tolist() == pytest.approx([x2 / 2 - 0.5, y2 / 4 - 0.5])


def test_padding_of_either_view_is_not_matched():
    image = torch.zeros(3, 8, 8, dtype=torch.uint8)
    geometry = Affine.identity()
    valid = torch.ones(8, 8, dtype=torch.bool)
    valid[:, :4] = False
    whole, half = View(image, geometry, 0, (8, 8)), View(image, geometry, 0, (8, 8), valid=valid)
    for pair in ((whole, half), (half, whole)):
        visible = view_targets(*pair, (2, 2), (2, 2))[1]
        assert visible.tolist() == [False, True, False, True]
    other = View(image, geometry, 1, (8, 8))
    with pytest.raises(ValueError, match="two frames"):
        view_targets(whole, other, (2, 2), (2, 2))


def test_view_targets_agree_with_the_generator():
    """A view's own place map, carried along as a label, says where its pixels come from."""
    ids = np.arange(40 * 50).reshape(40, 50)
    sample = Sample((Frame(np.zeros((40, 50, 3), np.uint8), {"place": ids}),), 4, "x")
    cut = ViewGenerator({"base": "none", "crop": True, "hflip": 0.5}, (32, 32), seed=3)
    one, two = cut(sample, 0)
    target, visible = view_targets(one, two, (32, 32), (32, 32))
    place = target.round().long()[visible].clamp(0, 31)
    a = one.maps["place"].reshape(-1)[visible]
    b = two.maps["place"][place[:, 1], place[:, 0]]
    assert visible.sum() > 50
    apart = torch.stack([(a // 50 - b // 50).abs(), (a % 50 - b % 50).abs()])
    # both are read at the nearest pixel, of views that show a pixel of the frame several times
    assert apart.max() <= 2


def test_a_tally_adds_up_pairs_by_their_cells():
    one = torch.eye(6).view(6, 2, 3)
    grid = torch.tensor([[x, y] for y in range(2) for x in range(3)]).double()
    tally = Tally((0.0,))
    everything = torch.ones(6, dtype=torch.bool)
    assert tally.add(one, one, grid, everything).recall == {0.0: 1.0}
    wrong = grid.roll(1, 0)
    some = torch.tensor([True, True, False, False, False, False])
    found = tally.add(one, one, wrong, some)
    assert (found.recall, found.queries) == ({0.0: 0.0}, 2)
    assert tally.add(one, one, grid, ~everything).queries == 0
    assert tally.recall().recall == {0.0: 6 / 8}
    # maps of two sizes: chance is over the other's cells
    other = torch.eye(6).view(6, 1, 6)
    assert Tally((0.0,)).add(one, other, grid[:, :1] * torch.tensor([1.0, 0.0]), everything).chance[
        0.0
    ] == pytest.approx(1 / 6)


def test_a_whole_run():
    run = spec(strides=(8,), stage_strides=(1, 2, 1, 2))
    items = run.select(Clips())
    result, trained = run.run(None, None, items, seed=0, device="cpu")
    assert set(result) >= {column.key for column in run.columns}
    assert trained.state_dict() == {}
    assert trained.backbone.channels == {4: 4, 8: 16, 16: 32}
    again = run.restore({}, None, seed=0, device="cpu")
    assert run.score(again, items, "cpu")["recall_1"] == result["recall_1"]
    assert run.at(0.0) is run
    json.dumps({**result, "spec": run.to_dict()})


def test_what_is_not_used_decides_nothing():
    assert spec(draw=1).to_dict() == spec(draw=2).to_dict()
    assert "shift" not in spec(other="view").to_dict()
    assert spec(other="view", draw=1).to_dict() != spec(other="view").to_dict()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"other": "scan"}, '"frame" or "view"'),
        ({"shift": (-1, 0)}, "shift"),
        ({"min_motion": -1.0}, "min_motion"),
        ({"other": "view", "recipe": "moco"}, "recipe"),
        ({"other": "view", "resize": (8, 8)}, "view_size"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        spec(**settings)


def test_clips_that_cannot_be_matched_are_named():
    with pytest.raises(UsageError, match="clip/0: two frames and the first one's flow"):
        spec().select(Clips(flow=False))[0]
    with pytest.raises(UsageError, match="leaves nothing"):
        spec(shift=(48, 0)).select(Clips())[0]
    with pytest.raises(UsageError, match="none of 3 pairs"):
        scored(spec(min_motion=99.0), Clips())


def test_pictures_show_the_share_that_is_counted():
    run = spec(min_motion=1.5)
    items = run.select(Clips(moved=8))
    matcher = Restored(Patches())
    figures = run.pictures({"one": matcher, "two": matcher}, items, "cpu")
    assert set(figures) == {"clip_0", "clip_1", "clip_2"}
    # four pictures of 240 x 160 under captions
    assert figures["clip_0"].shape == (180, 4 * 240 + 12, 3)
    pair = items[0]
    features = [run.input.maps(matcher.backbone, image)[0] for image in pair.images]
    found = verdicts(pair, *features)
    assert (found[:, :10] == NEAR).all()
    assert (found[:, 10:] == LEFT_OUT).all()
    mirrored = verdicts(pair, features[0], features[1].flip(2))
    assert ((mirrored == FAR).mean(), (mirrored == CLOSE).mean()) > (0.5, 0)
    assert (verdicts(pair, *features, min_motion=2.5) == LEFT_OUT).all()
    own = run.score(matcher, items, "cpu")["items"]["clip/0"]
    assert own["recall_1"] == (found[found != LEFT_OUT] == NEAR).mean()
