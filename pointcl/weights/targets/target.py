"""What the targets share: from a graph in their names to a plan with its proof."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from densecl.weights.targets.target import Plan, read_torch_file
from pointcl.models import MinkResNet, MinkUNet, SpUNet, VoxelResNet, config_of
from pointcl.sparse.kernel import Triple
from pointcl.weights.conventions import CONVENTIONS
from pointcl.weights.standins import graphs
from pointcl.weights.standins.index_operators import Cells, IndexOperators
from pointcl.weights.standins.minkowski_operators import MinkowskiOperators, import_minkowski
from pointcl.weights.standins.operators import Operators, ShapeOperators
from pointcl.weights.standins.spconv_operators import SpconvOperators, import_spconv, one_thread
from pointcl.weights.targets.probe import SHAPE, maps_of, random_voxels

Graph = Callable[[Operators, Any], list[Any]]
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}
"""Sums of thousands of products in another order, one layer after the other."""


def refused(naming: str, backbone: nn.Module, reason: str) -> Plan:
    """A plan that only says why not."""
    return Plan(naming, backbone, None, reasons=[reason])


def fill(plan: Plan, graph: Graph, layout: str, *, own: bool = False, grid: Triple = SHAPE) -> Plan:
    """Names, shapes and proof of a plan whose target computes ``graph``.

    Args:
        plan: its ``naming`` is a key of ``CONVENTIONS``.
        graph: of the target, in its names.
        layout: of its kernels; see ``Operators``.
        own: whether the target is the library that runs the graph, and not one built on it.
        grid: cells of the input along (x, y, z).
    """
    backbone = plan.source
    entries = CONVENTIONS[plan.naming](backbone)
    plan.config = config_of(backbone)
    plan.key_map = {name: entry.name for name, entry in entries.items()}
    plan.convert = {name: entry.to for name, entry in entries.items()}
    listing = ShapeOperators(layout)
    graph(listing, backbone.in_channels)
    plan.shapes = listing.shapes
    minkowski = layout == "minkowski"
    library = import_minkowski() if minkowski else import_spconv()
    if getattr(backbone, "norm", "bn") == "in":
        # MinkowskiEngine's own layer refuses a sample of one voxel, which the probe has.
        library = None
    # spconv has no float64 on the CPU.
    dtype = torch.float64 if minkowski or library is None else torch.float32
    plan.source = copy.deepcopy(backbone).to(dtype)
    channels = int(backbone.in_channels)  # type: ignore[arg-type]
    plan.probe = lambda: random_voxels(channels, grid, dtype)
    plan.maps = maps_of
    plan.tolerance = TOLERANCE[dtype]
    plan.verdict = "proven" if own and library is not None else "proven by stand-in"
    if library is not None and not own:
        plan.notes.append("the stand-in ran on spconv's own layers")

    def outputs(path: Path, given: Cells) -> list[Tensor]:
        state = {
            name: tensor.to(dtype) if tensor.is_floating_point() else tensor
            for name, tensor in read_torch_file(path).items()
        }
        if library is None:
            return graph(IndexOperators(state, layout), given)
        if minkowski:
            ops = MinkowskiOperators(state, layout, library)
            return graph(ops, ops.start(given))
        with one_thread():
            there = SpconvOperators(state, layout, library)
            return graph(there, there.start(given))

    plan.outputs = outputs
    return plan


def unet_graph(net: MinkUNet) -> Graph:
    """The graph of a MinkUNet or Res16UNet in its own names."""

    def graph(ops: Operators, x: Any) -> list[Any]:
        numbers = net.width, net.planes, net.layers, net.stem_kernel, net.out_channels
        return graphs.minkunet(ops, x, *numbers, net.norm)

    return graph


def resnet_graph(net: MinkResNet) -> Graph:
    """The graph of a MinkResNet in its own names."""
    return lambda ops, x: graphs.minkresnet(ops, x, net.depth, net.width, net.stem_kernel, net.norm)


def spunet_graph(net: SpUNet, prefix: str = "") -> Graph:
    """The graph of a SpUNet in Pointcept's names."""
    numbers = net.width, net.planes, net.layers, net.out_channels
    return lambda ops, x: graphs.spunet(ops, x, *numbers, prefix)


def voxelres_graph(net: VoxelResNet, prefix: str = "") -> Graph:
    """The graph of a VoxelResNet in OpenPCDet's names."""
    return lambda ops, x: graphs.voxelres(ops, x, net.width, net.bias, net.last_padding, prefix)


def grid_of(net: VoxelResNet) -> Triple:
    """Cells of the grid as the detectors count them, with one layer more on top."""
    x, y, z = net.grid_size
    return (x, y, z + 1)


def input_comment(meta: Mapping[str, Any]) -> str:
    """One line of Python comment that says what the weights expect as input."""
    known = [f"{name} {value}" for name, value in input_of(meta).items()]
    return f"# input: {', '.join(known) or 'the file does not say voxel size and features'}"


def input_of(meta: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of the voxels that weights expect: size, system, range, features.

    A checkpoint of ours has the section ``voxels``; the entries of that name that ``export`` is
    given go before it.
    """
    section = meta.get("voxels") or {}
    low, high = section.get("low"), section.get("high")
    known = {
        "voxel size": meta.get("voxel_size") or section.get("size"),
        "system": meta.get("system") or section.get("kind"),
        "range": None if low is None or high is None else [*low, *high],
        "features": meta.get("features") or section.get("features"),
        "intensity times": section.get("intensity_scale", 1.0),
    }
    if known["intensity times"] == 1.0:
        del known["intensity times"]
    return {name: _plain(value) for name, value in known.items() if value}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, (tuple, list)) else value
