import pytest
import torch

from densecl.models import ResNet
from densecl.weights import standin


@pytest.mark.parametrize(
    ("depth", "parameters"),
    # torchvision's documented parameter counts and its classifier's inputs.
    [(18, (11_689_512, 512)), (34, (21_797_672, 512)), (50, (25_557_032, 2048)),
     (101, (44_549_160, 2048)), (152, (60_192_808, 2048))],
)  # fmt: skip
def test_shapes_add_up_to_the_published_count(depth, parameters):
    total, inputs = parameters
    shapes = standin.expected_shapes(depth)
    learned = 0
    for name, shape in shapes.items():
        if not name.endswith(("running_mean", "running_var", "num_batches_tracked")):
            learned += torch.Size(shape).numel()
    assert learned == total - (inputs + 1) * 1000


@pytest.mark.parametrize("depth", [18, 50])
def test_shapes_are_those_of_our_network(depth):
    ours = {name: tuple(t.shape) for name, t in ResNet(depth).state_dict().items()}
    assert standin.expected_shapes(depth) == ours


@pytest.mark.parametrize("depth", [18, 50])
def test_forward_is_that_of_our_network(make_net, depth):
    net = make_net(depth=depth)
    x = torch.randn(2, 3, 64, 96)
    for a, b in zip(
        standin.forward(net.state_dict(), depth, x), net.forward_stages(x), strict=True
    ):
        torch.testing.assert_close(a, b)
