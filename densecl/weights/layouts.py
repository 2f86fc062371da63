"""What the entries of a checkpoint mean: one row per published layout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from densecl.errors import UsageError
from densecl.weights.names import from_detectron2, from_mmseg
from densecl.weights.schema import MEAN, STD, check_schema

Input = tuple[str, tuple[float, ...], tuple[float, ...]]
IMAGENET_RGB: Input = ("RGB", MEAN, STD)


@dataclass(frozen=True)
class Layout:
    """A published checkpoint layout.

    Attributes:
        name: how it is called in messages.
        branches: branch -> prefix of its backbone; the first is the one handed over.
        marks: keys that must all exist for the layout to be recognised; "|" separates
            alternatives.
        rename: from a name below the prefix to torchvision's.
        drop: beginnings of names below the prefix that are no backbone.
        input: channel order, mean and std the weights expect; None where the file cannot tell.
    """

    name: str
    branches: dict[str, str]
    marks: tuple[str, ...]
    rename: Callable[[str], str] = from_mmseg
    drop: tuple[str, ...] = ("fc.",)
    input: Input | None = IMAGENET_RGB


def _first(prefix: str) -> str:
    return f"{prefix}conv1.weight|{prefix}stem.0.weight"


# Order matters: the first layout whose marks are all there is taken. Prefixes stand without the
# "module." of DistributedDataParallel, which is taken off first.
LAYOUTS: tuple[Layout, ...] = (
    Layout(
        "DenseCL training",
        {"online": "backbone.", "teacher": "encoder_k.0."},
        (_first("backbone."), "queue2", _first("encoder_k.0.")),
    ),
    Layout(
        "MoCo v2",
        {"online": "encoder_q.", "teacher": "encoder_k."},
        (_first("encoder_q."),),
    ),
    Layout(
        "PixPro",
        {"online": "encoder.", "teacher": "encoder_k."},
        (_first("encoder."), _first("encoder_k.")),
    ),
    Layout("mmseg or mmpretrain", {"online": "backbone."}, (_first("backbone."),)),
    Layout(
        "detectron2",
        {"online": ""},
        ("stem.conv1.weight|backbone.bottom_up.stem.conv1.weight",),
        rename=from_detectron2,
        drop=("fc1000.", "stem.fc.", "proposal_generator.", "roi_heads."),
        # The same names carry Caffe's BGR weights and converted RGB ones.
        input=None,
    ),
    # The published DenseCL files are of this form too.
    Layout("torchvision", {"online": ""}, (_first(""), "layer1.0.conv1.weight")),
)


@dataclass
class BackboneState:
    """The backbone inside a checkpoint.

    Attributes:
        tensors: name (ours = torchvision's) -> tensor.
        layout, branch: where they were found.
        config: backbone config, or None where it has to be inferred from the shapes.
        input: channel order, mean, std, or None where the file cannot tell.
        meta: what the checkpoint says about itself; empty for foreign files.
    """

    tensors: dict[str, Tensor]
    layout: str
    branch: str
    config: dict[str, Any] | None = None
    input: Input | None = IMAGENET_RGB
    meta: dict[str, Any] = field(default_factory=dict)


def find_backbone(
    checkpoint: Mapping[str, Any], path: str | Path, branch: str | None = None
) -> BackboneState:
    """Recognise the layout and take one branch's backbone out of it.

    Args:
        checkpoint: the contents of the file.
        path: its name, for messages.
        branch: "online" or "teacher"; None takes the one that the method hands over.

    Raises:
        UsageError: unknown layout, or the branch is not there.
    """
    if "schema" in checkpoint:
        return _ours(checkpoint, path, branch)
    state = _state_dict(checkpoint)
    for layout in LAYOUTS:
        if all(any(m in state for m in mark.split("|")) for mark in layout.marks):
            return _take(state, layout, path, branch)
    raise UsageError(
        f"{path}: no layout we know; its first keys are {list(state)[:5] or list(checkpoint)[:5]}",
        needed="a checkpoint of ours, or of " + ", ".join(known.name for known in LAYOUTS),
    )


def _state_dict(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of the checkpoint, below its container and DistributedDataParallel's prefix."""
    for key in ("state_dict", "model"):
        if isinstance(checkpoint.get(key), Mapping):
            checkpoint = checkpoint[key]
            break
    found = {}
    for name, value in checkpoint.items():
        if isinstance(value, np.ndarray):
            # torch takes arrays of the machine's own byte order only.
            value = torch.from_numpy(value.astype(value.dtype.newbyteorder("=")))
        if isinstance(value, Tensor):
            found[str(name)] = value
    if found and all(name.startswith("module.") for name in found):
        return {name.removeprefix("module."): value for name, value in found.items()}
    return found


def _take(
    state: Mapping[str, Tensor], layout: Layout, path: str | Path, branch: str | None
) -> BackboneState:
    present = {
        name: prefix
        for name, prefix in layout.branches.items()
        if any(key.startswith(prefix + "layer1.") for key in state) or not prefix
    }
    branch = branch or next(iter(layout.branches))
    _check_branch(branch, list(present), f"{path} ({layout.name} layout)")
    prefix = present[branch]
    tensors = {}
    for name, value in state.items():
        below = name.removeprefix(prefix)
        if name.startswith(prefix) and not below.startswith(layout.drop):
            tensors[layout.rename(below)] = value
    return BackboneState(tensors, layout.name, branch, input=layout.input)


def _ours(checkpoint: Mapping[str, Any], path: str | Path, branch: str | None) -> BackboneState:
    check_schema(checkpoint, path)
    meta = dict(checkpoint["meta"])
    config = meta["backbone"] or None
    handed = meta.get("branch", "online")
    prefixes = {handed: meta.get("backbone_prefix", ""), **meta.get("branch_prefixes", {})}
    branch = branch or handed
    if checkpoint["kind"] == "pretrain":
        _check_branch(branch, list(prefixes), str(path))
        prefix = prefixes[branch]
        method = checkpoint["method"]
        tensors = {k.removeprefix(prefix): v for k, v in method.items() if k.startswith(prefix)}
        if not tensors:
            raise UsageError(
                f"{path}: no entry of the method begins with {prefix!r}",
                needed="meta['backbone_prefix'] that names the backbone of the method",
            )
    else:
        _check_branch(branch, [handed], str(path))
        tensors = {k: v for k, v in checkpoint["state_dict"].items() if _is_first_copy(k, meta)}
        if meta["naming"] == "mmseg":
            wrapped = str((config or {}).get("type")).startswith("mmseg.")
            tensors = {f"net.{k}" if wrapped else from_mmseg(k): v for k, v in tensors.items()}
    order, mean, std = meta.get("channel_order"), meta.get("mean"), meta.get("std")
    given = (str(order), tuple(mean), tuple(std)) if order and mean and std else None
    return BackboneState(tensors, "densecl", branch, config, given, meta)


def _is_first_copy(name: str, meta: Mapping[str, Any]) -> bool:
    """False for the second listing of a tensor under ``backbone.`` in an mmseg export."""
    return not (meta["naming"] == "mmseg" and name.startswith("backbone."))


def _check_branch(branch: str, present: list[str], where: str) -> None:
    if branch not in present:
        raise UsageError(f"branch {branch!r} of {where}", needed=f"one of {present}")
