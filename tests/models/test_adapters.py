import pytest
import torch
from torch import nn

from densecl.errors import UsageError
from densecl.models import Features, ModuleBackbone, build_backbone


class Pyramid(nn.Module):
    """Two maps of strides 2 and 4 in the form that is asked for."""

    def __init__(self, form):
        super().__init__()
        self.form = form
        self.a = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4))
        self.b = nn.Conv2d(4, 6, 3, 2, 1)

    def forward(self, x):
        a = self.a(x)
        b = self.b(a)
        return {
            "map": b,
            "tuple": (a, b),
            "list": [a, b],
            "dict": {"low": a, "high": b},
            "nested": {"maps": [a, b], "token": b.mean((2, 3))},
            "features": Features({2: a, 4: b}),
        }[self.form]


@pytest.mark.parametrize("form", ["map", "tuple", "list", "dict", "nested", "features"])
def test_strides_and_channels_are_inferred_from_any_form(form):
    backbone = ModuleBackbone(Pyramid(form))
    expected = {4: 6} if form == "map" else {2: 4, 4: 6}
    assert backbone.channels == expected
    features = backbone(torch.randn(2, 3, 16, 24))
    shapes = {s: tuple(m.shape) for s, m in features.maps.items()}
    assert shapes == {s: (2, c, 16 // s, 24 // s) for s, c in expected.items()}
    assert (features.token is not None) == (form == "nested")
    features.last().sum().backward()


def test_probing_leaves_statistics_modes_and_randomness_alone():
    net = Pyramid("tuple").train()
    net.b.eval()
    state = torch.get_rng_state()
    ModuleBackbone(net)
    assert torch.equal(state, torch.get_rng_state())
    assert net.training
    assert not net.b.training
    assert int(net.a[1].num_batches_tracked) == 0
    assert float(net.a[1].running_mean.abs().sum()) == 0


def test_a_ten_line_adapter_is_enough():
    class Mine(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches = nn.Conv2d(3, 8, 16, 16)
            self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

        def forward(self, x):
            grid = self.patches(x)
            tokens = self.layer(grid.flatten(2).transpose(1, 2))
            return tokens.transpose(1, 2).reshape(grid.shape)

    backbone = build_backbone(Mine())
    assert backbone.channels == {16: 8}
    assert backbone(torch.randn(2, 3, 32, 64)).last().shape == (2, 8, 2, 4)


def test_given_strides_win_and_must_match_the_maps():
    assert ModuleBackbone(Pyramid("tuple"), strides=(8, 16)).channels == {8: 4, 16: 6}
    with pytest.raises(UsageError, match="3 strides"):
        ModuleBackbone(Pyramid("tuple"), strides=(2, 4, 8))


def test_equal_strides_keep_the_later_map():
    class Twice(nn.Module):
        def forward(self, x):
            return x, torch.cat([x, x], dim=1)

    assert ModuleBackbone(Twice()).channels == {1: 6}


def test_uneven_maps_ask_for_strides():
    with pytest.raises(UsageError, match="strides="):
        ModuleBackbone(nn.Conv2d(3, 4, 3, 2, 0))


@pytest.mark.parametrize(
    "net", [nn.Sequential(nn.Flatten(2)), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())]
)
def test_output_without_maps_is_explained(net):
    with pytest.raises(UsageError, match="map"):
        ModuleBackbone(net)


def test_mask_hides_pixels():
    backbone = ModuleBackbone(nn.Identity())
    x = torch.ones(1, 3, 4, 4)
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[0, 1, 2] = True
    assert float(backbone(x, mask).last().sum()) == 3
