"""Find the backbone in the contents of a checkpoint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from densecl.errors import UsageError
from densecl.weights import haiku
from densecl.weights.branches import branches_of
from densecl.weights.declared import declared_input
from densecl.weights.layouts import IMAGENET_RGB, LAYOUTS, UNKNOWN, Input, Layout
from densecl.weights.names import read_back
from densecl.weights.schema import check_schema


@dataclass
class BackboneState:
    """The backbone inside a checkpoint.

    Attributes:
        tensors: name (ours) -> tensor.
        layout, branch: where they were found; the branch is "unknown" where a file holds one
            backbone and does not say which it was.
        config: backbone config, or None where it has to be inferred from the shapes.
        input: channel order, mean, std, or None where the file cannot tell.
        caffe: what declares the weights to be Caffe's; empty where nothing does.
        meta: what the checkpoint says about itself; empty for foreign files.
        notes: what a user of the weights should know.
        origin: name (ours) -> entry of the file; empty where entries do not map one to one.
    """

    tensors: dict[str, Tensor]
    layout: str
    branch: str
    config: dict[str, Any] | None = None
    input: Input | None = IMAGENET_RGB
    caffe: str = ""
    meta: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    origin: dict[str, str] = field(default_factory=dict)


CONTAINERS = ("state_dict", "model")


def find_backbone(
    checkpoint: Mapping[str, Any],
    path: str | Path,
    branch: str | None = None,
    *,
    layouts: Sequence[Layout] = LAYOUTS,
    containers: Sequence[str] = CONTAINERS,
) -> BackboneState:
    """Recognise the layout and take one branch's backbone out of it.

    Args:
        checkpoint: the contents of the file.
        path: its name, for messages.
        branch: "online" or "teacher"; None takes the one that the method's authors use.
        layouts: the published layouts to try, in order.
        containers: entries of a foreign file that may hold its tensors.

    Raises:
        UsageError: unknown layout, or the branch is not there.
    """
    if isinstance(checkpoint.get("densecl"), str) and "model" in checkpoint:
        meta = json.loads(checkpoint["densecl"])
        return _from_export(_tensors(checkpoint["model"]), meta, path, branch)
    if "schema" in checkpoint:
        return _ours(checkpoint, path, branch)
    if networks := haiku.find(checkpoint):
        branch = branch or next(iter(networks))
        _check_branch(branch, list(networks), f"{path} (Haiku layout)")
        return BackboneState(
            haiku.to_torch(networks[branch]), "Haiku", branch, notes=[haiku.PADDING_NOTE]
        )
    state = _state_dict(checkpoint, containers)
    for layout in layouts:
        if layout.fits(state):
            found = _take(state, layout, path, branch)
            found.input, found.caffe = declared_input(checkpoint, path, layout.input)
            return found
    raise UsageError(
        f"{path}: {_what_it_is(state, checkpoint)}",
        needed="a checkpoint of ours, or of Haiku, " + ", ".join(each.name for each in layouts),
    )


def _tensors(mapping: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors and arrays among the entries, without DistributedDataParallel's prefix."""
    found = {}
    for name, value in mapping.items():
        if isinstance(value, np.ndarray):
            # torch takes arrays of the machine's own byte order only.
            value = torch.from_numpy(value.astype(value.dtype.newbyteorder("=")))
        if isinstance(value, Tensor):
            found[str(name)] = value
    if found and all(name.startswith("module.") for name in found):
        return {name.removeprefix("module."): value for name, value in found.items()}
    return found


def _state_dict(checkpoint: Mapping[str, Any], containers: Sequence[str]) -> dict[str, Tensor]:
    """The tensors of the checkpoint, below its container."""
    for key in containers:
        if isinstance(checkpoint.get(key), Mapping):
            return _tensors(checkpoint[key])
    networks = [k for k in ("student", "teacher") if isinstance(checkpoint.get(k), Mapping)]
    if networks:
        return {f"{k}.{n}": t for k in networks for n, t in _tensors(checkpoint[k]).items()}
    return _tensors(checkpoint)


def _what_it_is(state: Mapping[str, Tensor], checkpoint: Mapping[str, Any]) -> str:
    """A file of no known layout, by its contents."""
    optimizer = checkpoint.get("optimizer", checkpoint)
    if isinstance(optimizer, Mapping) and "param_groups" in optimizer and not state:
        return "the state of an optimiser, without any weights"
    if not state:
        return f"no tensors; its first entries are {list(checkpoint)[:5]}"
    if any(name.endswith(("_branch2a_w", "_branch2a_bn_s")) for name in state):
        return "blobs of Caffe2's Detectron (BGR, stride in the 1x1 convolution), not converted"
    for ending in ("layer1.0.conv1.weight", "blocks.0.attn.qkv.weight"):
        prefixes = sorted({n.removesuffix(ending) for n in state if n.endswith(ending)})
        if prefixes:
            return (
                f"no layout we know, but backbones lie under {prefixes[:4]}; save the one you "
                "mean as a dict of its own, without that prefix"
            )
    return f"no layout we know; its first keys are {list(state)[:5]}"


def _take(
    state: Mapping[str, Tensor], layout: Layout, path: str | Path, branch: str | None
) -> BackboneState:
    present = {
        name: prefix
        for name, prefix in layout.branches.items()
        if not prefix or any(key.startswith(prefix) for key in state)
    }
    branch = branch or next(iter(layout.branches))
    _check_branch(branch, list(present), f"{path} ({layout.name} layout)")
    prefix = present[branch]
    tensors, origin = {}, {}
    for name, value in state.items():
        below = name.removeprefix(prefix)
        if name.startswith(prefix) and not below.startswith(layout.drop):
            ours = layout.rename(below)
            tensors[ours], origin[ours] = value, name
    return BackboneState(tensors, layout.name, branch, origin=origin)


def _ours(checkpoint: Mapping[str, Any], path: str | Path, branch: str | None) -> BackboneState:
    check_schema(checkpoint, path)
    meta = dict(checkpoint["meta"])
    if checkpoint["kind"] == "backbone":
        return _from_export(checkpoint["state_dict"], meta, path, branch)
    handed = meta.get("branch", "online")
    method = checkpoint["method"]
    prefixes = branches_of(method, handed, meta["backbone_prefix"], meta.get("branch_prefixes"))
    branch = branch or handed
    _check_branch(branch, list(prefixes), str(path))
    prefix = prefixes[branch]
    tensors = {k.removeprefix(prefix): v for k, v in method.items() if k.startswith(prefix)}
    if not tensors:
        raise UsageError(
            f"{path}: no entry of the method begins with {prefix!r}",
            needed="meta['backbone_prefix'] that names the backbone of the method",
        )
    if isinstance(checkpoint.get("config"), str):
        digest = hashlib.sha256(checkpoint["config"].encode()).hexdigest()
        meta.setdefault("config_hash", digest[:16])
    found = BackboneState(tensors, "densecl", branch, meta["backbone"] or None, _input_of(meta))
    found.meta, found.origin = meta, {name: prefix + name for name in tensors}
    return found


def _from_export(
    state: Mapping[str, Tensor], meta: dict[str, Any], path: str | Path, branch: str | None
) -> BackboneState:
    """The backbone of a file that ``export`` wrote."""
    handed = meta.get("branch") or UNKNOWN
    branch = branch or handed
    _check_branch(branch, [handed], str(path))
    config = meta["backbone"] or None
    origin = {read_back(k, meta["naming"], config): k for k in state if _first(k, meta)}
    tensors = {name: state[entry] for name, entry in origin.items()}
    found = BackboneState(tensors, "densecl", branch, config, _input_of(meta), meta=meta)
    found.origin = origin
    return found


def _first(name: str, meta: Mapping[str, Any]) -> bool:
    """False for the second listing of a tensor under ``backbone.``."""
    return not (meta["naming"] in ("mmseg", "mmdet") and name.startswith("backbone."))


def _input_of(meta: Mapping[str, Any]) -> Input | None:
    order, mean, std = meta.get("channel_order"), meta.get("mean"), meta.get("std")
    return (str(order), tuple(mean), tuple(std)) if order and mean and std else None


def _check_branch(branch: str, present: list[str], where: str) -> None:
    if branch in present:
        return
    if present == [UNKNOWN]:
        raise UsageError(
            f"branch {branch!r} of {where}: the file holds one backbone and does not say whether "
            "it was the online one or the teacher",
            fix="leave the branch out",
        )
    raise UsageError(f"branch {branch!r} of {where}", needed=f"one of {present}")
