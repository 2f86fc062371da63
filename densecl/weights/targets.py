"""The libraries we export to: what they expect, how they load it, what they then compute."""

from __future__ import annotations

import contextlib
import copy
import importlib
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from densecl.models.adapters import ModuleBackbone, split_output
from densecl.models.build import build_backbone, config_of
from densecl.models.mmseg import MMSegBackbone, mmseg_models
from densecl.models.mmseg_config import mmseg_config, mmseg_obstacles
from densecl.models.resnet import ResNet
from densecl.weights import standin
from densecl.weights.load import load_backbone
from densecl.weights.names import from_mmseg, mmseg_key_map

Verdict = Literal["proven", "proven by stand-in", "refused"]
Maps = list[Tensor]


@dataclass
class Plan:
    """How one backbone goes to one target.

    Attributes:
        shapes: name -> shape of every entry of the target backbone.
        key_map: our name -> the target's.
        source: the network that the target is compared with.
        outputs: maps of the target, loaded from a written file in its own way, on an image.
        verdict: what equality of the maps is worth.
        naming: goes into the file's meta.
        config: backbone config that goes into the file's meta, None for a user's module.
        target_config: backbone config of the target library, for the snippet.
        notes: what the user should know and what does not stand in the way.
        reasons: what does.
    """

    naming: str
    source: nn.Module
    config: dict[str, Any] | None
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    key_map: dict[str, str] = field(default_factory=dict)
    outputs: Callable[[Path, Tensor], Maps] | None = None
    verdict: Verdict = "proven"
    target_config: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


def maps_of(module: nn.Module, x: Tensor) -> Maps:
    """All maps of a backbone of ours, in order."""
    if isinstance(module, ResNet):
        return list(module.forward_stages(x))
    if isinstance(module, ModuleBackbone):
        return split_output(module.net(x))[0]
    return split_output(module(x))[0]


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Name -> shape of a module's state."""
    return {name: tuple(t.shape) for name, t in module.state_dict().items()}


def plan_safetensors(backbone: nn.Module) -> Plan:
    """Our own names, read back by ``load_backbone``."""
    config = config_of(backbone)
    shapes = shapes_of(backbone)
    plan = Plan("torchvision" if isinstance(backbone, ResNet) else "own", backbone, config, shapes)
    plan.key_map = {name: name for name in shapes}

    def outputs(path: Path, x: Tensor) -> Maps:
        fresh: nn.Module | None = None
        if config is None:
            fresh = _blank_copy(backbone)
        return maps_of(load_backbone(path, backbone=fresh), x)

    plan.outputs = outputs
    return plan


def _blank_copy(module: nn.Module) -> nn.Module:
    """The same module with every tensor zero, so that only loaded weights can be equal."""
    fresh = copy.deepcopy(module)
    for tensor in fresh.state_dict().values():
        tensor.zero_()
    return fresh


def plan_mmseg(backbone: nn.Module) -> Plan:
    """The same network of mmsegmentation, loaded through its ``Pretrained`` initialisation."""
    plan = Plan("mmseg", backbone, config_of(backbone))
    if not isinstance(backbone, (ResNet, MMSegBackbone)):
        plan.reasons.append(f"{type(backbone).__name__} is no network of mmsegmentation")
        return plan
    ours = backbone.config()
    plan.key_map = mmseg_key_map(backbone.state_dict(), ours)
    plan.reasons += mmseg_obstacles(ours)
    if plan.reasons:
        return plan
    config = plan.target_config = mmseg_config(ours)
    plan.shapes = shapes_of(build_mmseg(config))

    def outputs(path: Path, x: Tensor) -> Maps:
        maps: list[Maps] = []
        for prefix in ({}, {"prefix": "backbone."}):
            init = {"type": "Pretrained", "checkpoint": str(path), **prefix}
            net = build_mmseg({**config, "init_cfg": init})
            maps.append(split_output(net(x))[0])
        if not all(torch.equal(a, b) for a, b in zip(*maps, strict=True)):
            raise ValueError("mmseg loads the file differently with and without its prefix")
        return maps[0]

    plan.outputs = outputs
    return plan


def build_mmseg(config: dict[str, Any]) -> nn.Module:
    """A network of mmsegmentation, initialised as it says, in evaluation mode."""
    # The second listing of each tensor makes mmengine warn of unexpected keys, and some networks
    # print the warning instead of logging it.
    quiet = contextlib.redirect_stdout(io.StringIO())
    with mmseg_models("ERROR") as models, quiet:
        net = models.build(dict(config))
        net.init_weights()
    # Not chained: some of mmseg's networks return None here.
    net.eval()
    return net


def plan_torchvision(backbone: nn.Module) -> Plan:
    """torchvision's ResNet of that depth, or the stand-in where it does not import."""
    plan = Plan("torchvision", backbone, None)
    resnet = backbone if isinstance(backbone, ResNet) else _resnet_of(backbone, plan.reasons)
    if resnet is None:
        return plan
    prefix = "" if resnet is backbone else "net."
    plan.key_map = {name: from_mmseg(name.removeprefix(prefix)) for name in backbone.state_dict()}
    plan.shapes = standin.expected_shapes(resnet.depth)
    if resnet.stem_kind != "v1":
        plan.reasons.append(f"stem {resnet.stem_kind!r}: torchvision has the 7x7 stem ('v1') only")
    if (resnet.width, resnet.stem_width) != (64, 64):
        plan.reasons.append(
            f"width {resnet.width}: torchvision's resnet{resnet.depth} has width 64"
        )
    config = {**resnet.config(), "strides": (1, 2, 2, 2), "dilations": (1, 1, 1, 1)}
    if (resnet.strides, resnet.dilations) != (config["strides"], config["dilations"]):
        plan.notes.append(
            f"pretrained with strides {resnet.strides} and dilations {resnet.dilations}; "
            "proven for torchvision's own, (1, 2, 2, 2) without dilation"
        )
    plan.config = config
    if plan.reasons or resnet.norm not in ("bn", "split"):
        return plan
    plan.source = build_backbone(config)
    plan.source.load_state_dict(resnet.state_dict())
    library = import_torchvision()
    plan.verdict = "proven by stand-in" if library is None else "proven"

    def outputs(path: Path, x: Tensor) -> Maps:
        state = torch.load(path, weights_only=True)["state_dict"]
        if library is None:
            return standin.forward(state, resnet.depth, x)
        return _torchvision_maps(getattr(library, f"resnet{resnet.depth}")(), state, x)

    plan.outputs = outputs
    return plan


def import_torchvision() -> Any | None:
    """``torchvision.models``, or None where it is missing or does not fit the installed torch."""
    try:
        return importlib.import_module("torchvision.models")
    except (ImportError, RuntimeError, AttributeError):
        return None


def _torchvision_maps(model: nn.Module, state: dict[str, Tensor], x: Tensor) -> Maps:
    loaded = model.load_state_dict(state, strict=False)
    if set(loaded.missing_keys) != {"fc.weight", "fc.bias"} or loaded.unexpected_keys:
        raise ValueError(f"torchvision loaded it as {loaded}")
    model.eval()
    maps = []
    for name, part in model.named_children():
        if name in ("avgpool", "fc"):
            break
        x = part(x)
        if name.startswith("layer"):
            maps.append(x)
    return maps


def _resnet_of(backbone: nn.Module, reasons: list[str]) -> ResNet | None:
    """Our ResNet with the weights of mmseg's, where the two are the same network."""
    config: dict[str, Any] = {"type": None}
    if isinstance(backbone, MMSegBackbone):
        config = backbone.cfg
    known = {"type", "depth", "base_channels", "stem_channels", "strides", "dilations"}
    harmless = {
        "style": ("pytorch",),
        "num_stages": (4,),
        "contract_dilation": (False,),
        "avg_down": (False,),
        "deep_stem": (False,),
        "in_channels": (3,),
    }
    free = {"out_indices", "norm_eval", "with_cp", "frozen_stages", "zero_init_residual"}
    other = [
        key
        for key, value in config.items()
        if key not in known | free | {"norm_cfg", "init_cfg"} and value not in harmless.get(key, ())
    ]
    norm = (config.get("norm_cfg") or {"type": "BN"})["type"]
    if config["type"] != "ResNet" or other or norm not in ("BN", "SyncBN"):
        what = config["type"] or type(backbone).__name__
        reasons.append(f"{what} {other or ''} with {norm} is no network of torchvision".strip())
        return None
    resnet = ResNet(
        depth=config["depth"],
        width=config.get("base_channels", 64),
        stem_width=config.get("stem_channels", 64),
        strides=config.get("strides", (1, 2, 2, 2)),
        dilations=config.get("dilations", (1, 1, 1, 1)),
    )
    state = {k.removeprefix("net."): v for k, v in backbone.state_dict().items()}
    resnet.load_state_dict(state)
    return resnet
