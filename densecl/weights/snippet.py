"""What a user pastes to use an exported file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def mmseg_snippet(path: Path, config: Mapping[str, Any] | None, meta: Mapping[str, Any]) -> str:
    """Model entries of an mmsegmentation config."""
    cfg = dict(config or {})
    norm = cfg.pop("norm_cfg", None)
    lines = [_preprocessor(meta)]
    if norm is not None:
        lines.append(f"norm_cfg = {norm!r}")
    body = [f"    {key}={value!r}," for key, value in cfg.items()]
    body += ["    norm_cfg=norm_cfg,"] if norm is not None else []
    # Without the prefix it loads as well, with a warning for each tensor's second listing.
    init = f"dict(type='Pretrained', checkpoint={str(path)!r}, prefix='backbone.')"
    body.append(f"    init_cfg={init},")
    lines += ["backbone = dict(", *body, ")"]
    lines.append("model = dict(data_preprocessor=data_preprocessor, backbone=backbone)")
    return "\n".join(lines)


def _preprocessor(meta: Mapping[str, Any]) -> str:
    if not meta.get("mean") or not meta.get("std"):
        return "data_preprocessor = dict(type='SegDataPreProcessor')  # mean and std are unknown"
    # mmseg's image reader gives BGR.
    return (
        f"data_preprocessor = dict(type='SegDataPreProcessor', mean={list(meta['mean'])}, "
        f"std={list(meta['std'])},\n    bgr_to_rgb={meta.get('channel_order') == 'RGB'}, "
        "pad_val=0, seg_pad_val=255)"
    )


def torchvision_snippet(
    path: Path, config: Mapping[str, Any] | None, meta: Mapping[str, Any]
) -> str:
    """Python that loads the file into torchvision's network."""
    depth = (config or {}).get("depth")
    return "\n".join(
        [
            "import torch, torchvision",
            f"model = torchvision.models.resnet{depth}(weights=None)",
            f"state = torch.load({str(path)!r}, weights_only=True)['state_dict']",
            "print(model.load_state_dict(state, strict=False))  # missing: fc.weight, fc.bias only",
            f"# input: {meta.get('channel_order')}, mean {meta.get('mean')}, "
            f"std {meta.get('std')} on the scale 0-255",
        ]
    )


def safetensors_snippet(
    path: Path, config: Mapping[str, Any] | None, meta: Mapping[str, Any]
) -> str:
    """Python that loads the file again."""
    load = "densecl.load_backbone" if config else "safetensors.torch.load_file"
    return f"import {load.rsplit('.', 1)[0]}\nbackbone = {load}({str(path)!r})"
