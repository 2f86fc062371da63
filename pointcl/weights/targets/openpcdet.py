"""OpenPCDet: VoxelResBackBone8x, as ``backbone_3d`` of a detector."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from densecl.weights.schema import SCHEMA
from densecl.weights.targets.target import Plan, Target
from pointcl.models import VoxelResNet
from pointcl.weights.targets.target import (
    fill,
    grid_of,
    input_comment,
    input_of,
    refused,
    voxelres_graph,
)

PREFIX = "backbone_3d."


def plan_for(backbone: nn.Module) -> Plan:
    """VoxelResNet alone: OpenPCDet's UNetV2 is another graph than the U-Nets."""
    if not isinstance(backbone, VoxelResNet):
        reason = (
            f"{type(backbone).__name__} is no 3D backbone of OpenPCDet; its UNetV2 has a decoder "
            "of other blocks, and its voxel backbones write other voxels"
        )
        return refused("openpcdet", backbone, reason)
    plan = Plan("openpcdet", backbone, None)
    if backbone.width != 16:
        reason = f"width {backbone.width}: OpenPCDet's VoxelResBackBone8x has 16, fixed in its code"
        plan.reasons.append(reason)
    graph = voxelres_graph(backbone, PREFIX)
    return fill(plan, graph, "spconv zyx", grid=grid_of(backbone))


def encode(tensors: dict[str, Tensor], about: dict[str, Any]) -> bytes:
    """A file of ours that OpenPCDet reads too: the same tensors as its ``model_state``."""
    buffer = io.BytesIO()
    ours = {"schema": SCHEMA, "kind": "backbone", "state_dict": tensors, "meta": about}
    torch.save({**ours, "model_state": tensors}, buffer)
    return buffer.getvalue()


def snippet(path: Path, plan: Plan, meta: Mapping[str, Any]) -> str:
    """The command line and the entries of a config."""
    net = plan.source
    assert isinstance(net, VoxelResNet)
    known = input_of(meta)
    data = [
        f"{name}: {known[what]}"
        for name, what in (("POINT_CLOUD_RANGE", "range"), ("VOXEL_SIZE", "voxel size"))
        if what in known
    ]
    lines = [
        input_comment(meta),
        *data,
        "BACKBONE_3D:",
        "    NAME: VoxelResBackBone8x",
        f"    USE_BIAS: {net.bias}",
        f"    last_pad: {net.last_padding}",
        f"# python train.py --cfg_file ... --pretrained_model {path}",
    ]
    return "\n".join(lines)


TARGET = Target("openpcdet", "pth", plan_for, encode, snippet)
