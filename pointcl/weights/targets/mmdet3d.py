"""mmdetection3d: MinkUNetBackbone (spconv) and SparseEncoder with basic blocks."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from densecl.weights.targets.target import Plan, Target, torch_file
from pointcl.models import MinkUNet, VoxelResNet
from pointcl.weights.standins import graphs
from pointcl.weights.targets.spconv import ODD
from pointcl.weights.targets.target import fill, grid_of, input_comment, input_of, refused

STEM = "backbone.conv_input.1."
EPS = 1e-5


def plan_for(backbone: nn.Module) -> Plan:
    """The U-Nets and the detectors' encoder."""
    if isinstance(backbone, MinkUNet):
        return _plan_unet(backbone)
    if isinstance(backbone, VoxelResNet):
        return _plan_encoder(backbone)
    reason = f"{type(backbone).__name__} is no network of mmdetection3d"
    return refused("mmdet3d unet", backbone, reason)


def _plan_unet(net: MinkUNet) -> Plan:
    plan = Plan("mmdet3d unet", net, None, notes=[ODD])
    if net.stem_kernel != 3:
        plan.reasons.append(f"stem of size {net.stem_kernel}: MinkUNetBackbone has one of size 3")
    if net.norm != "bn":
        plan.reasons.append(f"norm {net.norm!r}: MinkUNetBackbone has batch norm")
    if net.out_channels is not None:
        plan.reasons.append(
            "the layer `final` has no place in MinkUNetBackbone: load the backbone without it, "
            "out_channels=None"
        )
    if plan.reasons:
        return plan

    def graph(ops: Any, x: Any) -> list[Any]:
        numbers = net.width, net.planes, net.layers
        return graphs.minkunet_backbone(ops, x, *numbers, "backbone.")

    fill(plan, graph, "spconv")
    why = "the second stem layer, which we do not have, made to pass what it gets"
    plan.added = {STEM + name: (value, why) for name, value in _identity(net.width).items()}
    return plan


def _identity(width: int) -> dict[str, Tensor]:
    """Convolution, norm and ReLU that return an input >= 0."""
    kernel = torch.zeros(width, 3, 3, 3, width)
    kernel[:, 1, 1, 1, :] = torch.eye(width)
    return {
        "0.weight": kernel,
        "1.weight": torch.ones(width),
        "1.bias": torch.zeros(width),
        "1.running_mean": torch.zeros(width),
        "1.running_var": torch.full((width,), 1 - EPS),
        "1.num_batches_tracked": torch.tensor(0),
    }


def _plan_encoder(net: VoxelResNet) -> Plan:
    reasons = []
    if net.last_padding:
        reasons.append(f"last_padding {net.last_padding}: SparseEncoder's last layer has none")
    if net.bias:
        reasons.append(
            "biases in the residual blocks: SparseEncoder has none; fold_biases(backbone) moves "
            "them into the batch norms"
        )
    plan = Plan("mmdet3d encoder", net, None, reasons=reasons)
    if reasons:
        return plan

    def graph(ops: Any, x: Any) -> list[Any]:
        return graphs.sparse_encoder(ops, x, net.width, "middle_encoder.")

    return fill(plan, graph, "spconv zyx", grid=grid_of(net))


@torch.no_grad()
def fold_biases(net: VoxelResNet) -> VoxelResNet:
    """The same function in evaluation without biases: each is taken off the mean of its norm."""
    arguments = {k: v for k, v in net.config().items() if k != "type"}
    plain = VoxelResNet(**{**arguments, "bias": False})
    plain = plain.to(next(net.parameters()).dtype)
    state = {k: v.clone() for k, v in net.state_dict().items() if not k.endswith("conv1.bias")}
    state = {k: v for k, v in state.items() if not k.endswith("conv2.bias")}
    for name, value in net.state_dict().items():
        for index in ("1", "2"):
            if name.endswith(f".conv{index}.bias"):
                path = name.removesuffix(f"conv{index}.bias")
                state[f"{path}bn{index}.bn.running_mean"] -= value.reshape(-1)
    plain.load_state_dict(state)
    if hasattr(net, "meta"):
        plain.meta = copy.deepcopy(net.meta)
    return plain.train(net.training)


def snippet(path: Path, plan: Plan, meta: Mapping[str, Any]) -> str:
    """Model entries of an mmdetection3d config."""
    net = plan.source
    init = f"init_cfg=dict(type='Pretrained', checkpoint={str(path)!r}"
    if isinstance(net, MinkUNet):
        lines = [
            "backbone = dict(type='MinkUNetBackbone', sparseconv_backend='spconv',",
            f"    in_channels={net.in_channels}, base_channels={net.width},",
            f"    encoder_channels={list(net.planes[:4])}, encoder_blocks={list(net.layers[:4])},",
            f"    decoder_channels={list(net.planes[4:])}, decoder_blocks={list(net.layers[4:])},",
            f"    {init}, prefix='backbone.'))",
        ]
        return "\n".join([input_comment(meta), *lines])
    assert isinstance(net, VoxelResNet)
    w, (x, y, z) = net.width, grid_of(net)
    channels = ((w, w, 2 * w), (2 * w, 2 * w, 4 * w), (4 * w, 4 * w, 8 * w), (8 * w, 8 * w))
    known = input_of(meta)
    data = [
        f"{name} = {known[what]}"
        for name, what in (("point_cloud_range", "range"), ("voxel_size", "voxel size"))
        if what in known
    ]
    lines = [
        *data,
        "middle_encoder = dict(type='SparseEncoder', block_type='basicblock',",
        f"    in_channels={net.in_channels}, sparse_shape={[z, y, x]}, base_channels={w},",
        f"    output_channels={8 * w}, encoder_channels={channels},",
        "    encoder_paddings=((0, 0, 1), (0, 0, 1), (0, 0, [0, 1, 1]), (0, 0)))",
        f"load_from = {str(path)!r}",
    ]
    return "\n".join([input_comment(meta), *lines])


TARGET = Target("mmdet3d", "pth", plan_for, torch_file, snippet)
