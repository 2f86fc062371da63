from __future__ import annotations

import pytest
import torch
from torch import nn

from densecl.errors import UsageError
from densecl.models.build import build_backbone
from densecl.transfer.restride import restrided

TINY = {"type": "ResNet", "depth": 18, "width": 4}


def test_the_third_stage_is_read_at_the_resolution_of_the_second():
    backbone = build_backbone(TINY).eval()
    other = restrided(backbone, (1, 2, 1, 2))
    assert other.channels == {4: 4, 8: 16, 16: 32}
    x = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        stages, fine = backbone.forward_stages(x), other(x).maps[8]
        assert fine.shape[-2:] == (8, 12)
        torch.testing.assert_close(other.forward_stages(x)[1], stages[1])
        # with the stage's stride taken out, the same weights in the place of the old ones
        stage = backbone.layer3
        stage[0].conv1.stride = stage[0].downsample[0].stride = (1, 1)
        torch.testing.assert_close(stage(stages[1]), fine)


def test_mode_is_kept_and_the_original_untouched():
    backbone = build_backbone(TINY).train()
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    assert restrided(backbone, (1, 2, 1, 1)).training
    assert not restrided(backbone.eval(), (1, 2, 1, 1)).training
    assert all(torch.equal(v, before[k]) for k, v in backbone.state_dict().items())
    assert restrided(backbone, ()) is backbone


def test_backbones_without_stages_are_refused():
    with pytest.raises(UsageError, match="Identity"):
        restrided(nn.Identity(), (1, 2, 1, 2))
    with pytest.raises(UsageError, match="a stride for each stage"):
        restrided(build_backbone(TINY), (1, 2))
