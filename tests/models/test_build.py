import subprocess
import sys

import pytest
from torch import nn

from densecl.errors import UsageError
from densecl.models import ModuleBackbone, ResNet, build_backbone
from densecl.models.build import config_of


def test_config_is_not_changed():
    config = {"type": "ResNet", "depth": 18, "width": 8}
    assert isinstance(build_backbone(config), ResNet)
    assert config == {"type": "ResNet", "depth": 18, "width": 8}


def test_modules_pass_or_are_wrapped():
    net = ResNet(18, width=8)
    assert build_backbone(net) is net
    assert isinstance(build_backbone(nn.Conv2d(3, 4, 1)), ModuleBackbone)


@pytest.mark.parametrize("name", ["resnet", "ResNt", "Resnet18"])
def test_unknown_type_names_the_nearest(name):
    with pytest.raises(UsageError, match="ResNet"):
        build_backbone({"type": name})


def test_unknown_argument_and_missing_type_are_named():
    with pytest.raises(UsageError, match="widht"):
        build_backbone({"type": "ResNet", "widht": 8})
    with pytest.raises(UsageError, match="type"):
        build_backbone({"depth": 18})


def test_importing_the_package_loads_neither_torch_nor_mmengine():
    code = (
        "import sys, densecl; assert 'torch' not in sys.modules and 'mmengine' not in sys.modules;"
        "assert 'load_backbone' in dir(densecl); assert callable(densecl.load_backbone)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_building_our_resnet_does_not_load_mmseg():
    code = (
        "import sys; from densecl.models import build_backbone;"
        "build_backbone(dict(type='ResNet', depth=18, width=2)); assert 'mmseg' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_config_of_a_backbone_builds_it_again_where_there_is_one():
    net = build_backbone({"type": "ResNet", "depth": 18, "width": 4, "norm": "gn"})
    again = build_backbone(config_of(net))
    assert {k: v.shape for k, v in again.state_dict().items()} == {
        k: v.shape for k, v in net.state_dict().items()
    }
    assert config_of(ResNet(18, width=4, norm=nn.InstanceNorm2d)) is None
    assert config_of(nn.Conv2d(3, 4, 1)) is None
