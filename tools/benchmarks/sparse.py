"""Time and memory of sparse 3x3x3 convolutions and of whole networks, each proven equal to ours.

    OMP_NUM_THREADS=1 python tools/benchmarks/sparse.py [--voxels 20000 100000] [--channels 32 ..]

First table: forward and both gradients of one submanifold convolution on cached kernel maps.
MinkowskiEngine and spconv take part where they can be imported (spconv on one thread only), called
as their own layers are. The naive form adds each offset's products in one piece; im2col lines up
all 27 neighbours, with a row of zeros for those missing, and is left out where that needs over
1 GB. Two bounds: the matrix products alone, on rows that lie in the cache, and the traffic alone:
every pair's rows read once per product and its results summed once.

Second table: kernel maps, and steps of whole networks with one backend after the other on the same
weights, kernel maps included.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial

import timing
import torch
from torch import Tensor

from densecl.errors import UsageError
from pointcl.models import MinkUNet
from pointcl.sparse import Kernel, SparseTensor, backend, convolve
from pointcl.sparse.maps import KernelMap, build_kernel_map
from pointcl.sparse.plan import build_plan
from pointcl.sparse.products import dense_product, dense_transposed_product

KERNEL = Kernel.of(3)
LARGEST_TABLE = 300_000_000
TILE = 4096
Result = tuple[Tensor, Tensor, Tensor]
Forward = Callable[[Tensor, Tensor], Tensor]


def surface(voxels: int, seed: int = 0) -> Tensor:
    """A rolling surface, two voxels thick in places: about 10 neighbours a voxel, as in LiDAR."""
    g = torch.Generator().manual_seed(seed)
    side = int(math.sqrt(voxels * 0.8))
    xy = torch.randint(0, side, (3 * voxels, 2), generator=g)
    height = (torch.sin(xy[:, 0] / 9) + torch.cos(xy[:, 1] / 7)) * 3
    z = height.floor().long() + torch.randint(0, 2, (len(xy),), generator=g)
    cells = torch.unique(torch.cat([xy, z.unsqueeze(1) + 8], 1), dim=0)
    cells = cells[torch.randperm(len(cells), generator=g)[:voxels].sort().values]
    return torch.cat([cells.new_zeros(len(cells), 1), cells], 1).int()


def gradients(forward: Forward, x: Tensor, w: Tensor, g: Tensor) -> Result:
    """Output and both gradients."""
    x, w = x.detach().requires_grad_(), w.detach().requires_grad_()
    out = forward(x, w)
    out.backward(g)
    assert x.grad is not None
    assert w.grad is not None
    return out.detach(), x.grad, w.grad


def naive(kernel_map: KernelMap) -> Forward:
    """Offset by offset through autograd."""
    rows = torch.arange(kernel_map.num_src)
    pairs = [(k, src, dst) for k, src, dst in kernel_map.offsets()]
    if kernel_map.identity is not None:
        pairs.append((kernel_map.identity, rows, rows))

    def forward(x: Tensor, w: Tensor) -> Tensor:
        out = x.new_zeros(kernel_map.num_dst, w.shape[2])
        for k, src, dst in pairs:
            out = out.index_add_(0, dst, x[src] @ w[k])
        return out

    return forward


def im2col(kernel_map: KernelMap) -> Forward:
    """One product with all neighbours side by side."""
    table = torch.full((kernel_map.num_dst, kernel_map.volume), kernel_map.num_src)
    for k, src, dst in kernel_map.offsets():
        table[dst, k] = src
    if kernel_map.identity is not None:
        table[:, kernel_map.identity] = torch.arange(kernel_map.num_src)

    def forward(x: Tensor, w: Tensor) -> Tensor:
        padded = torch.cat([x, x.new_zeros(1, x.shape[1])])
        return padded[table.ravel()].view(len(table), -1) @ w.flatten(0, 1)

    return forward


def minkowski(coordinates: Tensor) -> Forward | None:
    """MinkowskiEngine's convolution with our weight, its maps cached as ours are."""
    try:
        import MinkowskiEngine
    except ImportError:
        return None
    base = MinkowskiEngine.SparseTensor(torch.zeros(len(coordinates), 1), coordinates=coordinates)
    assert torch.equal(base.C, coordinates)
    layers: dict[int, torch.nn.Module] = {}

    def forward(x: Tensor, w: Tensor) -> Tensor:
        channels = x.shape[1]
        if channels not in layers:
            layers[channels] = MinkowskiEngine.MinkowskiConvolution(
                channels, channels, 3, dimension=3
            )
        layer = layers[channels]
        del layer.kernel
        layer.kernel = w
        tensor = MinkowskiEngine.SparseTensor(
            x,
            coordinate_map_key=base.coordinate_map_key,
            coordinate_manager=base.coordinate_manager,
        )
        out: Tensor = layer(tensor).F
        return out

    return forward


def spconv(coordinates: Tensor) -> Forward | None:
    """spconv's submanifold convolution with our weight and cached pairs; None where it is wrong."""
    if torch.get_num_threads() > 1:
        return None
    try:
        import spconv.pytorch as sp
        from spconv.pytorch import ops
    except ImportError:
        return None
    # its CPU backward asks for a CUDA stream
    ops.get_current_stream = lambda: 0
    shape = (coordinates[:, 1:].max(0).values + 2).tolist()
    known: dict[str, object] = {}

    def forward(x: Tensor, w: Tensor) -> Tensor:
        channels = x.shape[1]
        layer = sp.SubMConv3d(
            channels, channels, 3, bias=False, indice_key="k", algo=sp.ConvAlgo.Native
        )
        del layer.weight
        layer.weight = w.view(3, 3, 3, channels, -1).permute(4, 2, 1, 0, 3).contiguous()
        tensor = sp.SparseConvTensor(x, coordinates, shape, 1, indice_dict=known)
        out: Tensor = layer(tensor).features
        return out

    return forward


def map_of(coordinates: Tensor) -> KernelMap:
    """The submanifold map of these voxels."""
    sites = SparseTensor.build(torch.zeros(len(coordinates), 1), coordinates).sites
    return build_kernel_map(sites, sites, KERNEL)


MAKERS: dict[str, Callable[[Tensor], Forward | None]] = {
    "ours": lambda voxels: partial(convolve, kernel_map=map_of(voxels)),
    "naive": lambda voxels: naive(map_of(voxels)),
    "im2col": lambda voxels: im2col(map_of(voxels)),
    "MinkowskiEngine": minkowski,
    "spconv": spconv,
}


def operands(voxels: int, channels: int) -> tuple[Tensor, Tensor, Tensor]:
    """Features, weight and the gradient of the output."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(voxels, channels, generator=g)
    w = torch.randn(KERNEL.volume, channels, channels, generator=g) / channels
    return x, w, torch.randn(voxels, channels, generator=g)


def bounds(kernel_map: KernelMap, x: Tensor, w: Tensor) -> dict[str, timing.Form]:
    """What no implementation on this machine avoids: the products, and the traffic."""
    pairs = len(kernel_map)
    tile = x[:TILE].contiguous()
    times = max(pairs // len(tile), 1)
    src, _ = kernel_map.all_pairs()
    starts = torch.arange(0, len(tile), 10)
    order = torch.arange(len(tile))

    def multiply() -> None:
        for _ in range(times):
            dense_product(tile, w[0])
            dense_product(tile, w[0].T)
            dense_transposed_product(tile, tile)

    def read() -> None:
        for rows in src.split(TILE):
            for _ in range(3):
                part = x.index_select(0, rows)
            for _ in range(2):
                torch.embedding_bag(part, order[: len(rows)], starts[starts < len(rows)], False, 0)

    return {"bound: products": multiply, "bound: traffic": read}


def compare(coordinates: Tensor, channels: int, options: argparse.Namespace) -> Iterator[list]:
    """One row per form at one size."""
    voxels = len(coordinates)
    x, w, g = operands(voxels, channels)
    kernel_map = map_of(coordinates)
    forms: dict[str, Forward] = {}
    for name, make in MAKERS.items():
        fits = name != "im2col" or voxels * KERNEL.volume * channels <= LARGEST_TABLE
        forward = make(coordinates) if fits else None
        if forward is not None:
            forms[name] = forward
    expected = gradients(forms["ours"], x, w, g)
    apart = {
        name: "-" if name == "ours" else timing.equal(name, gradients(forward, x, w, g), expected)
        for name, forward in forms.items()
    }
    run: dict[str, timing.Form] = {
        name: partial(gradients, forward, x, w, g) for name, forward in forms.items()
    }
    spent = timing.alternate(run | bounds(kernel_map, x, w), options.rounds)
    for name, time in spent.items():
        peak: object = "-"
        if name in forms:
            peak = round(timing.peak_mib(__file__, name, voxels, channels))
        shape = [voxels, f"{len(kernel_map) / voxels:.1f}", channels]
        yield [*shape, name, time.cpu, time.wall, peak, apart.get(name, "-")]


def step(network: torch.nn.Module, name: str, coordinates: Tensor) -> list[Tensor]:
    """Output and all gradients of a network with one backend, from the coordinates on."""
    g = torch.Generator().manual_seed(0)
    features = torch.randn(len(coordinates), 3, generator=g)
    network.zero_grad()
    with backend(name):
        out = network(SparseTensor.build(features, coordinates)).maps[1].features
    out.square().mean().backward()
    gradient = [p.grad.ravel() for p in network.parameters() if p.grad is not None]
    return [out.detach(), torch.cat(gradient)]


def usable() -> list[str]:
    """Backends that work here with this number of threads."""
    found = ["torch"]
    for name in ("minkowski", "spconv"):
        if name == "spconv" and torch.get_num_threads() > 1:
            continue
        with suppress(UsageError), backend(name):
            found.append(name)
    return found


def networks(coordinates: Tensor, options: argparse.Namespace) -> Iterator[list]:
    """Rows of the second table at one size."""
    sites = SparseTensor.build(torch.zeros(len(coordinates), 1), coordinates).sites
    kernel_map = build_kernel_map(sites, sites, KERNEL)
    parts: dict[str, timing.Form] = {
        "kernel map 3x3x3": partial(build_kernel_map, sites, sites, KERNEL),
        "its plan": partial(build_plan, kernel_map, TILE),
    }
    for part, time in timing.alternate(parts, options.rounds).items():
        yield [len(sites), part, "torch", time.cpu, time.wall, "-"]
    for depth in options.depths:
        torch.manual_seed(0)
        network = MinkUNet(depth, width=options.width)
        run = {name: partial(step, network, name, coordinates) for name in usable()}
        expected = run["torch"]()
        # Outputs must agree. Roundings carry activations across the kink of a ReLU, so that single
        # entries of a float32 gradient are off by up to 1e-2 in every backend, measured against
        # float64: its difference is shown.
        apart = dict.fromkeys(run, "-")
        for name in list(run)[1:]:
            out, slope = run[name]()
            equal = timing.equal(name, out, expected[0], 1e-4)
            apart[name] = f"{equal}, gradient {timing.difference(slope, expected[1]):.0e}"
        for name, time in timing.alternate(run, min(options.rounds, 3), warm=False).items():
            yield [len(sites), f"MinkUNet{depth}", name, time.cpu, time.wall, apart[name]]


def peak(name: str, voxels: str, channels: str) -> None:
    """The child of ``timing.peak_mib``."""

    def prepared(count: int) -> timing.Form:
        coordinates = surface(count)
        forward = MAKERS[name](coordinates)
        assert forward is not None
        operand = operands(len(coordinates), int(channels))
        # one row of channels makes the kernel map, which is not what is measured
        gradients(forward, *operands(len(coordinates), 1))
        return partial(gradients, forward, *operand)

    timing.print_peak(prepared(300), prepared(int(voxels)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables."""
    parser = timing.parser(__doc__)
    parser.add_argument("--voxels", type=int, nargs="+", default=[20000, 100000])
    parser.add_argument("--channels", type=int, nargs="+", default=[32, 64, 128, 256])
    parser.add_argument("--depths", type=int, nargs="*", default=[14, 18, 34])
    parser.add_argument("--width", type=int, default=32, help="of the networks' stem")
    parser.add_argument("--peak", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args(None if arguments is None else list(arguments))
    if options.peak:
        torch.set_num_threads(1)
        peak(*options.peak)
        return
    timing.prepare(options)
    if options.quick:
        options.voxels, options.channels = [2000], [4, 64]
        options.depths, options.width = options.depths[:1], 4
    clouds = [surface(voxels) for voxels in options.voxels]
    head = ["voxels", "pairs a voxel", "C", "form", "CPU ms", "wall ms", "peak MiB", "difference"]
    rows = [row for cloud in clouds for c in options.channels for row in compare(cloud, c, options)]
    timing.table("One 3x3x3 convolution, forward and both gradients", head, rows)
    head = ["voxels", "what", "backend", "CPU ms", "wall ms", "difference"]
    rows = [row for cloud in clouds for row in networks(cloud, options)]
    timing.table("Kernel maps, and steps of whole networks, maps included", head, rows)


if __name__ == "__main__":
    main()
