"""From a weight file to a ready backbone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from densecl.errors import UsageError
from densecl.models.build import build_backbone
from densecl.weights.architecture import infer_resnet
from densecl.weights.layouts import BackboneState, find_backbone
from densecl.weights.reader import read_weights


def read_backbone(path: str | Path, branch: str | None = None) -> BackboneState:
    """The backbone's weights inside any file that we know, by our names.

    Raises:
        UsageError: unreadable file, unknown layout, or no such branch.
    """
    contents = read_weights(path)
    data: Mapping[str, Any] = contents.data
    if "densecl" in contents.metadata:
        meta = json.loads(contents.metadata["densecl"])
        data = {"schema": meta.pop("schema"), "kind": "backbone", "state_dict": data, "meta": meta}
    return find_backbone(data, path, branch)


def load_backbone(
    path: str | Path,
    *,
    branch: str | None = None,
    backbone: Mapping[str, Any] | nn.Module | None = None,
) -> nn.Module:
    """A backbone in evaluation mode with the weights of a file.

    Reads pretraining checkpoints and exports of ours, and those of torchvision, MoCo v2,
    DenseCL, PixPro, mmseg and detectron2. No code from the file is run.

    Args:
        path: .pth, .pt, .pth.tar, .pkl or .safetensors.
        branch: "online" or "teacher"; None takes the one that the method hands over.
        backbone: a config or module to load into; None takes the file's own config, or reads a
            ResNet's architecture off the shapes. Strides and dilations leave no trace in a
            foreign file: give them here if they are not the defaults.

    Returns:
        The module, ``module(x) -> Features``. ``module.mean``, ``module.std`` (0-255) and
        ``module.channel_order`` are what its input is normalised with (None where the file
        cannot tell), ``module.meta`` what the file says about itself.

    Raises:
        UsageError: unreadable file, unknown layout or architecture, or weights that do not fit;
            each tensor that does not fit is named.
    """
    state = read_backbone(path, branch)
    if backbone is None:
        backbone = state.config
    if backbone is None and state.layout == "densecl":
        raise UsageError(
            f"{path} holds a backbone of the user's own, without a config",
            fix="pass the module: load_backbone(path, backbone=module)",
        )
    if isinstance(backbone, Mapping):
        # Whatever the network was initialised from is replaced, and may be gone.
        backbone = {k: v for k, v in backbone.items() if k not in ("init_cfg", "pretrained")}
    module = build_backbone(backbone or infer_resnet(state.tensors, str(path)))
    load_exactly(module, state.tensors, str(path))
    module.eval()
    order, mean, std = state.input or (None, None, None)
    module.channel_order, module.mean, module.std = order, mean, std  # type: ignore[assignment]
    module.meta = {**state.meta, "layout": state.layout, "branch": state.branch}  # type: ignore[assignment]
    return module


def load_exactly(module: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Copy tensors into a module; every one must fit and none may be left over.

    A missing ``num_batches_tracked`` is forgiven: old files lack it and it changes no output.

    Raises:
        UsageError: names of tensors that are missing, left over or of another shape.
    """
    missing, reshaped, left_over = misfits(module.state_dict(), tensors)
    if missing or reshaped or left_over:
        lines = [*_some("missing", missing), *_some("", reshaped), *_some("left over", left_over)]
        stems = _stem(module.state_dict()), _stem(tensors)
        if stems[0] != stems[1]:
            lines.insert(0, f"the file has the stem {stems[1]}, the backbone {stems[0]}")
        raise UsageError(
            f"{where} does not fit the backbone:\n    " + "\n    ".join(lines),
            needed="the same stem, depth, width and normalisation",
        )
    module.load_state_dict(dict(tensors), strict=False)


def misfits(
    wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]
) -> tuple[list[str], list[str], list[str]]:
    """One line for each tensor that is missing, has another shape, or is left over."""
    missing, reshaped = [], []
    for name, tensor in wanted.items():
        if name not in given:
            if not name.endswith("num_batches_tracked"):
                missing.append(f"{name} {tuple(tensor.shape)}")
        elif given[name].shape != tensor.shape:
            reshaped.append(f"{name} is {tuple(given[name].shape)}, needs {tuple(tensor.shape)}")
    return missing, reshaped, [name for name in given if name not in wanted]


def _some(kind: str, lines: list[str], count: int = 4) -> list[str]:
    shown = [f"{kind} {line}".strip() for line in lines[:count]]
    return shown + ([f"... and {len(lines) - count} more"] if len(lines) > count else [])


def _stem(names: Mapping[str, Tensor]) -> str:
    return "v1c" if "stem.0.weight" in names else "v1 or small"
