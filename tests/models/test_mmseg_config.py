from __future__ import annotations

import pytest

from densecl.errors import UsageError
from densecl.models.mmseg_config import mmseg_config, mmseg_obstacles
from densecl.models.resnet import ResNet


@pytest.mark.parametrize("config", [{}, {"depth": 18, "width": 8, "norm": "gn"}, {"stem": "v1c"}])
def test_a_short_config_and_the_networks_own_full_one_say_the_same(config):
    full = ResNet(**config).config()
    assert mmseg_config({"type": "ResNet", **config}) == mmseg_config(full)


def test_every_obstacle_is_named():
    config = {"type": "ResNet", "stem": "small", "norm": "custom"}
    assert [reason.split()[1] for reason in mmseg_obstacles(config)] == ["stem", "norm"]
    with pytest.raises(UsageError, match=r"stem 'small'.*norm 'custom'"):
        mmseg_config(config)


def test_output_stride_trades_strides_for_dilation():
    config = mmseg_config({"type": "ResNet"}, output_stride=8)
    assert (config["strides"], config["dilations"]) == ((1, 2, 1, 1), (1, 1, 2, 4))
