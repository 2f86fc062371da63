"""Backbone configs of ours in mmsegmentation's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from densecl.errors import UsageError
from densecl.models.blocks import group_count

_TYPES = {"v1": "ResNet", "v1c": "ResNetV1c"}
_DILATION = {  # output stride -> strides and dilations of the four ResNet stages
    32: ((1, 2, 2, 2), (1, 1, 1, 1)),
    16: ((1, 2, 2, 1), (1, 1, 1, 2)),
    8: ((1, 2, 1, 1), (1, 1, 2, 4)),
}


def mmseg_obstacles(backbone: Mapping[str, Any]) -> list[str]:
    """Why mmsegmentation has no such network; empty where it has."""
    kind = backbone.get("type")
    if isinstance(kind, str) and kind.startswith("mmseg."):
        return []
    if kind != "ResNet":
        return [f"backbone type {kind!r} is neither 'ResNet' nor 'mmseg.<Name>'"]
    reasons = []
    if backbone.get("stem", "v1") not in _TYPES:
        reasons.append(
            f"backbone stem {backbone['stem']!r}: mmseg's ResNet has 'v1' and 'v1c' only"
        )
    if backbone.get("norm", "bn") not in ("bn", "split", "gn"):
        reasons.append(f"backbone norm {backbone['norm']!r} has no norm_cfg in mmseg")
    return reasons


def mmseg_config(backbone: Mapping[str, Any], output_stride: int | None = None) -> dict[str, Any]:
    """Translate a backbone config of ours into mmsegmentation's.

    Args:
        backbone: ``dict(type="ResNet", depth=18, width=32, stem="v1", ...)`` or
            ``dict(type="mmseg.<Name>", ...)``, which is mmsegmentation's own already.
        output_stride: 8, 16 or 32 puts dilation in place of the last strides (ResNet only);
            None keeps the strides that the backbone was pretrained with.

    Raises:
        UsageError: a backbone, stem, norm or stride that mmsegmentation's backbone cannot mirror.
    """
    reasons = mmseg_obstacles(backbone)
    if reasons:
        raise UsageError(
            "; ".join(reasons),
            needed="a ResNet with stem 'v1' or 'v1c' and norm 'bn', 'split' or 'gn', "
            "or an 'mmseg.<Name>'",
        )
    kind = str(backbone["type"])
    if kind.startswith("mmseg."):
        if output_stride is not None:
            raise UsageError(f"output_stride={output_stride} with backbone {kind}", fix="leave out")
        return {**backbone, "type": kind.removeprefix("mmseg.")}
    strides = tuple(backbone.get("strides", (1, 2, 2, 2)))
    dilations = tuple(backbone.get("dilations", (1, 1, 1, 1)))
    if output_stride is not None:
        if output_stride not in _DILATION:
            raise UsageError(f"output_stride={output_stride}", needed="8, 16 or 32")
        strides, dilations = _DILATION[output_stride]
    width = backbone.get("width", 64)
    stem_width = backbone.get("stem_width") or width
    norm: dict[str, Any] = {"type": "BN", "requires_grad": True}
    if backbone.get("norm") == "gn":
        norm = {"type": "GN", "num_groups": group_count(stem_width), "requires_grad": True}
    return {
        "type": _TYPES[backbone.get("stem", "v1")],
        "depth": backbone.get("depth", 50),
        "base_channels": width,
        "stem_channels": stem_width,
        "num_stages": 4,
        "out_indices": (0, 1, 2, 3),
        "strides": strides,
        "dilations": dilations,
        "style": "pytorch",
        "contract_dilation": False,
        "norm_cfg": norm,
        "norm_eval": False,
    }
