from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from densecl.data.sample import Frame, Sample
from densecl.models.contract import Features
from densecl.transfer.correspondence import cell_targets, correspondence_recall, match_by_cosine
from densecl.transfer.initialisation import random_backbone


class Patches(nn.Module):
    """Each 4 x 4 patch is its own feature: matches any shift by whole cells."""

    def forward(self, x, mask=None):
        return Features({4: nn.functional.pixel_unshuffle(x, 4)})


def shifted_clip(dx, dy, size=(32, 40), seed=0):
    """Noise that moves by (dx, dy) pixels; new content enters at the border."""
    height, width = size
    generator = np.random.default_rng(seed)
    canvas = generator.integers(0, 256, (height + abs(dy), width + abs(dx), 3)).astype(np.uint8)
    y0, x0 = max(0, dy), max(0, dx)
    first = canvas[y0 : y0 + height, x0 : x0 + width]
    second = canvas[y0 - dy : y0 - dy + height, x0 - dx : x0 - dx + width]
    rows, columns = np.mgrid[0:height, 0:width]
    to_row, to_column = rows + dy, columns + dx
    inside = (to_row >= 0) & (to_row < height) & (to_column >= 0) & (to_column < width)
    flow = np.full((height, width, 2), np.nan, np.float32)
    flow[inside] = (dx, dy)
    return Sample((Frame(first, flow=flow), Frame(second)), 0, f"shift {dx} {dy}")


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (8, 0), (-4, 12), (4, -8)])
def test_whole_cell_shifts_are_found_exactly(dx, dy):
    found = correspondence_recall(Patches(), [shifted_clip(dx, dy)], stride=4, radii=(0.0, 1.0))
    assert found.recall == {0.0: 1.0, 1.0: 1.0}
    moved = math.hypot(dx / 4, dy / 4)
    assert found.still == {0.0: float(moved == 0), 1.0: float(moved <= 1)}
    assert found.queries == (8 - abs(dy) // 4) * (10 - abs(dx) // 4)


def test_direction_of_the_flow_matters():
    clip = shifted_clip(8, 0)
    clip.frames[0].flow *= -1
    clip.frames[0].flow[:, :8] = np.nan
    assert correspondence_recall(Patches(), [clip], stride=4).recall[1.0] < 0.2


def test_targets_in_cell_coordinates():
    flow = np.zeros((16, 24, 2), np.float32)
    flow[..., 0], flow[..., 1] = 4.0, 2.0
    target, visible = cell_targets(flow, (4, 6))
    assert target[0].tolist() == [1.0, 0.5]
    assert target[7].tolist() == [2.0, 1.5]  # row-major: cell (1, 1)
    # the last column leaves the frame: 22 + 4 > 24; the last row does not: 14 + 2 = 16 is outside
    assert visible.view(4, 6)[:3, :5].all()
    assert not visible.view(4, 6)[:, 5].any()
    assert not visible.view(4, 6)[3].any()


def test_unknown_flow_is_not_counted():
    clip = shifted_clip(0, 0)
    clip.frames[0].flow[:16] = np.nan
    found = correspondence_recall(Patches(), [clip], stride=4)
    assert found.queries == 4 * 10


def test_constant_features_reach_chance_at_most():
    class Constant(Patches):
        def forward(self, x, mask=None):
            return Features({4: torch.ones(1, 2, x.shape[2] // 4, x.shape[3] // 4)})

    found = correspondence_recall(Constant(), [shifted_clip(8, 0)], stride=4, radii=(1.0,))
    # every query takes cell (0, 0), where almost no target lies
    assert found.recall[1.0] <= 0.05


def test_chance_is_what_random_cells_reach():
    class Random(Patches):
        def __init__(self):
            super().__init__()
            self.generator = torch.Generator().manual_seed(0)

        def forward(self, x, mask=None):
            size = (1, 64, x.shape[2] // 4, x.shape[3] // 4)
            return Features({4: torch.randn(size, generator=self.generator)})

    clips = [shifted_clip(4, 4)] * 60
    found = correspondence_recall(Random(), clips, stride=4, radii=(2.0,))
    # 60 x 63 queries at 13 %: four standard deviations are 0.022
    assert found.recall[2.0] == pytest.approx(found.chance[2.0], abs=0.025)
    h, w = 8, 10
    expected = np.mean(
        [
            np.mean([math.dist((i + 1, j + 1), (a, b)) <= 2 for a in range(h) for b in range(w)])
            for i in range(h - 1)
            for j in range(w - 1)
        ]
    )
    assert found.chance[2.0] == pytest.approx(expected)


def test_slow_motion_can_be_left_out():
    clips = [shifted_clip(0, 0), shifted_clip(8, 0)]
    both = correspondence_recall(Patches(), clips, stride=4)
    moving = correspondence_recall(Patches(), clips, stride=4, min_motion=1.5)
    assert both.queries == 80 + 64
    assert moving.queries == 64
    assert moving.still[1.0] == 0
    assert both.still[1.0] == pytest.approx(80 / 144)


def test_shift_moves_the_content_between_the_crops():
    found = correspondence_recall(
        Patches(), [shifted_clip(4, -4)], stride=4, radii=(0.0,), shift=(8, 4)
    )
    # cells of 7 x 8 whose target, one cell left and two up, lies inside
    assert found.queries == 5 * 7
    assert found.recall[0.0] == 1
    assert found.still[0.0] == 0
    standing = correspondence_recall(Patches(), [shifted_clip(0, 0)], stride=4, shift=(8, 8))
    assert standing.recall[1.0] == 1
    assert standing.still[1.0] == 0


def test_matching_is_by_angle_not_by_length():
    source = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).T.view(2, 1, 2)
    target = torch.tensor([[0.0, 1e-3], [5.0, 5.0], [1e-3, 0.0]]).T.view(2, 1, 3)
    assert match_by_cosine(source, target).tolist() == [2, 0]


def test_modes_and_statistics_are_left_alone(tiny_backbone):
    backbone = random_backbone(tiny_backbone, 0).train()
    backbone.layer1.eval()
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    correspondence_recall(backbone, [shifted_clip(4, 0)], stride=8)
    assert backbone.training
    assert not backbone.layer1.training
    assert all(torch.equal(v, before[k]) for k, v in backbone.state_dict().items())


def test_clips_without_flow_or_cells_are_refused():
    clip = shifted_clip(0, 0)
    with pytest.raises(ValueError, match="two frames"):
        correspondence_recall(Patches(), [Sample(clip.frames[:1], 0, "one")], stride=4)
    clip.frames[0].flow[:] = np.nan
    with pytest.raises(ValueError, match="no clip has a visible cell"):
        correspondence_recall(Patches(), [clip], stride=4)
