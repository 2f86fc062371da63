import pytest
import torch

from densecl.errors import UsageError
from densecl.models import ResNet, build_backbone
from densecl.weights.architecture import infer_resnet


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_depth_is_read_off_the_blocks(depth):
    assert infer_resnet(ResNet(depth, width=2).state_dict(), "f")["depth"] == depth


@pytest.mark.parametrize("stem", ["v1", "v1c", "small"])
@pytest.mark.parametrize("norm", ["bn", "gn"])
@pytest.mark.parametrize(("width", "stem_width"), [(4, 4), (4, 8), (8, 4)])
def test_the_inferred_config_builds_a_network_that_takes_the_weights(stem, norm, width, stem_width):
    net = ResNet(18, width=width, stem=stem, norm=norm, stem_width=stem_width)
    config = infer_resnet(net.state_dict(), "f")
    assert {k: config[k] for k in ("width", "stem", "stem_width", "norm")} == {
        "width": width,
        "stem": stem,
        "stem_width": stem_width,
        "norm": norm,
    }
    build_backbone(config).load_state_dict(net.state_dict(), strict=True)


def test_other_networks_are_refused_by_what_is_wrong():
    state = ResNet(18, width=2).state_dict()
    with pytest.raises(UsageError, match="no stem"):
        infer_resnet({k: v for k, v in state.items() if k != "conv1.weight"}, "f")
    with pytest.raises(UsageError, match="kernel 5"):
        infer_resnet({**state, "conv1.weight": torch.zeros(2, 3, 5, 5)}, "f")
    with pytest.raises(UsageError, match=r"\[2, 2, 2, 3\]"):
        infer_resnet({**state, "layer4.2.conv1.weight": torch.zeros(16, 16, 3, 3)}, "f")
