import pytest
import torch
from torch import nn

from densecl.errors import UsageError
from densecl.models import ResNet
from densecl.models.contract import Backbone


def image(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_parameter_count_is_the_published_one_without_classifier():
    # torchvision's documented counts minus its classifier (512 or 2048 x 1000 + 1000).
    published = {18: 11_689_512 - 513_000, 50: 25_557_032 - 2_049_000}
    for depth, count in published.items():
        assert sum(p.numel() for p in ResNet(depth).parameters()) == count


def test_names_are_torchvisions():
    names = set(ResNet(50, width=4).state_dict())
    for name in (
        "conv1.weight",
        "bn1.running_mean",
        "layer1.0.conv3.weight",
        "layer1.0.downsample.0.weight",
        "layer4.2.bn3.num_batches_tracked",
        "layer3.5.conv2.weight",
    ):
        assert name in names
    assert not any(name.startswith("fc") for name in names)


def test_bottleneck_strides_in_the_3x3_convolution():
    block = ResNet(50, width=4).layer2[0]
    assert (block.conv1.stride, block.conv2.stride) == ((1, 1), (2, 2))


@pytest.mark.parametrize(
    ("stem", "strides", "expected"),
    [
        ("v1", (1, 2, 2, 2), {4: 8, 8: 16, 16: 32, 32: 64}),
        ("v1c", (1, 2, 2, 2), {4: 8, 8: 16, 16: 32, 32: 64}),
        ("small", (1, 2, 2, 2), {1: 8, 2: 16, 4: 32, 8: 64}),
        ("v1", (1, 2, 1, 1), {4: 8, 8: 64}),
    ],
)
def test_maps_have_the_promised_strides_and_channels(stem, strides, expected):
    net = ResNet(18, width=8, stem=stem, strides=strides, dilations=(1, 1, 1, 2))
    assert net.channels == expected
    x = image(2, 3, 64, 96)
    features = net(x)
    shapes = {s: tuple(m.shape) for s, m in features.maps.items()}
    assert shapes == {s: (2, c, 64 // s, 96 // s) for s, c in expected.items()}
    assert isinstance(net, Backbone)


def test_on_equal_stride_the_deepest_stage_is_the_map():
    net = ResNet(18, width=8, strides=(1, 2, 1, 1)).eval()
    x = image(1, 3, 64, 64)
    stages = net.forward_stages(x)
    assert len(stages) == 4
    maps = net(x).maps
    assert torch.equal(maps[8], stages[3])
    assert torch.equal(maps[4], stages[0])


def test_hidden_pixels_do_not_reach_the_features():
    net = ResNet(18, width=8).eval()
    x = image(2, 3, 64, 64)
    mask = torch.rand(2, 64, 64, generator=torch.Generator().manual_seed(1)) > 0.5
    other = torch.where(mask[:, None], x, torch.full_like(x, 7.0))
    assert not torch.equal(net(x).last(), net(other).last())
    assert torch.equal(net(x, mask).last(), net(other, mask).last())
    assert torch.equal(net(x, torch.ones_like(mask)).last(), net(x).last())
    with pytest.raises(ValueError, match="mask"):
        net(x, mask[:, :8])


def test_initial_weights_have_the_fan_out_scale():
    torch.manual_seed(0)
    net = ResNet(18, width=64)
    weight = net.layer4[1].conv2.weight
    # sqrt(2 / fan_out); 2.4 million draws, so the estimate is good to 0.1 %.
    assert float(weight.detach().std()) == pytest.approx((2 / (512 * 9)) ** 0.5, rel=5e-3)
    assert float(net.layer4[1].bn2.weight.detach().min()) == 1


@pytest.mark.parametrize("depth", [18, 50])
def test_zero_init_residual_makes_blocks_identities(depth):
    net = ResNet(depth, width=4, zero_init_residual=True).eval()
    block = net.layer1[-1]
    x = image(2, 4 if depth == 18 else 16, 8, 8).relu()
    assert torch.equal(block(x), x)


@pytest.mark.parametrize("norm", ["bn", "gn", "split"])
@pytest.mark.parametrize("depth", [18, 50])
def test_gradient_checkpointing_changes_no_number(norm, depth):
    results = []
    for checkpoint in (False, True):
        torch.manual_seed(0)
        net = ResNet(depth, width=8, norm=norm, grad_checkpoint=checkpoint)
        for seed in (1, 2):
            net(image(16, 3, 32, 32, seed=seed)).last().square().mean().backward()
        results.append((dict(net.named_parameters()), dict(net.named_buffers())))
    (plain, plain_buffers), (saved, saved_buffers) = results
    for name, parameter in plain.items():
        assert torch.equal(parameter.grad, saved[name].grad), name
    for name, buffer in plain_buffers.items():
        assert torch.equal(buffer, saved_buffers[name]), name
    if norm != "gn":
        counter = next(b for n, b in saved_buffers.items() if n == "layer1.0.bn1.running_mean")
        assert float(counter.abs().sum()) > 0


def test_checkpointing_stores_fewer_activations():
    stored = {}
    for checkpoint in (False, True):
        net = ResNet(18, width=8, grad_checkpoint=checkpoint)
        sizes = []

        def pack(tensor, sizes=sizes):
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            net(image(2, 3, 64, 64)).last().sum()
        stored[checkpoint] = sum(sizes)
    assert stored[True] < 0.6 * stored[False]


def test_group_norm_does_not_see_the_rest_of_the_batch():
    net = ResNet(18, width=8, norm="gn")
    x = image(3, 3, 32, 32)
    # Other convolution algorithms for other batch sizes: float32 rounding only.
    torch.testing.assert_close(net(x).last()[:1], net(x[:1]).last(), rtol=1e-4, atol=1e-5)
    groups = {m.num_groups for m in net.modules() if isinstance(m, nn.GroupNorm)}
    assert len(groups) == 1


def test_channels_last_gives_the_same_features_and_keeps_the_format():
    net = ResNet(18, width=8).eval()
    x = image(2, 3, 64, 64)
    plain = net(x).last()
    net = net.to(memory_format=torch.channels_last)
    fast = net(x.to(memory_format=torch.channels_last)).last()
    assert fast.is_contiguous(memory_format=torch.channels_last)
    # Another summation order in float32.
    torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-5)


def test_bfloat16_autocast_trains_and_stays_close():
    torch.manual_seed(0)
    net = ResNet(18, width=8, grad_checkpoint=True)
    x = image(4, 3, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        features = net(x)
    features.last().float().mean().backward()
    assert features.last().dtype == torch.bfloat16
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())
    net.eval()
    with torch.autocast("cpu", torch.bfloat16):
        low = net(x).maps[4].float()
    # bfloat16 has 8 bits of mantissa and the map lies five convolutions deep.
    assert float((low - net(x).maps[4]).norm() / low.norm()) < 0.03


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        ({"depth": 20}, "depth"),
        ({"stem": "v2"}, "stem"),
        ({"width": 7}, "width"),
        ({"strides": (1, 2, 2)}, "strides"),
        ({"dilations": (1, 1, 1, 0)}, "dilations"),
        ({"norm": "ln"}, "norm"),
    ],
)
def test_bad_arguments_are_named(bad, word):
    with pytest.raises(UsageError, match=word):
        ResNet(**{"depth": 18, "width": 8, **bad})


def test_config_builds_the_same_architecture():
    net = ResNet(34, width=8, stem="v1c", norm="gn", strides=(1, 2, 2, 1), stem_width=16)
    config = net.config()
    assert config.pop("type") == "ResNet"
    again = ResNet(**config)
    assert {k: v.shape for k, v in again.state_dict().items()} == {
        k: v.shape for k, v in net.state_dict().items()
    }
    assert again.channels == net.channels
