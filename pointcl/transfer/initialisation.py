"""Starting weights of a run on scans, and the input that they were pretrained with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from densecl.errors import UsageError
from densecl.transfer import initialisation
from densecl.transfer.initialisation import Init
from pointcl.engine.domain import POINTS
from pointcl.models import build_backbone, config_of
from pointcl.transfer.clouds import QUIET, VOXELS, input_fields
from pointcl.views.voxels import WIDTHS
from pointcl.weights import load_backbone

if TYPE_CHECKING:
    from densecl.transfer.protocol_file import ProtocolFile

FROM_CHECKPOINT = "from checkpoint"


def random_backbone(backbone: Mapping[str, Any], seed: int) -> nn.Module:
    """A freshly initialised sparse backbone, a function of (config, seed)."""
    return initialisation.random_backbone(backbone, seed, build_backbone)


def starting_backbone(
    init: Init, backbone: Mapping[str, Any], voxels: Mapping[str, Any], seed: int
) -> nn.Module:
    """The sparse backbone that a run starts from; see ``densecl.transfer.initialisation``.

    Raises:
        UsageError: a state dict that does not fit the config key by key, or a file whose backbone
            was pretrained on other voxels.
    """
    module = initialisation.starting_backbone(
        init, backbone, seed, build=build_backbone, load=load_backbone
    )
    told = _told(getattr(module, "meta", {}))
    if told is not None:
        _agree(told, {**{name: VOXELS[name] for name in QUIET}, **voxels}, str(init))
    return module


def input_of(path: Path, stated: Mapping[str, Any] | str) -> dict[str, Any]:
    """Backbone and voxels of a weight file: fields of a run.

    Args:
        path: the file.
        stated: the protocol's ``voxels``: "from checkpoint", or the fields themselves.

    Raises:
        UsageError: the file does not say its voxels and the protocol does not either, they
            contradict each other, or the features are not what the backbone takes.
    """
    module = load_backbone(path)
    meta = cast("dict[str, Any]", module.meta)
    told = _told(meta)
    given = {} if isinstance(stated, str) else stated
    if told is None:
        if isinstance(stated, str) or stated.get("size") is None:
            raise UsageError(
                f"{path} does not say how its voxels were made",
                needed="grid and features of the pretraining",
                fix="state them in the protocol: voxels=dict(size=..., features=[...])",
            )
        told = _formed(given)
    _agree(told, given, str(path))
    # the complete config: a checkpoint says what was configured, an export everything
    backbone = config_of(module) or dict(meta["backbone"])
    channels = sum(WIDTHS.get(name, 0) for name in told["features"])
    if backbone.get("in_channels", channels) != channels:
        raise UsageError(
            f"{path}: the backbone takes {backbone['in_channels']} numbers a voxel, "
            f"voxels.features = {told['features']} are {channels}",
            fix="state the features of the pretraining in the protocol's voxels",
        )
    return {"backbone": backbone, "voxels": told}


def input_of_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Backbone and voxels of a pretraining that need not have run yet: fields of a run.

    Args:
        config: the effective config, in builtins.
    """
    with torch.random.fork_rng(devices=[]):
        backbone = build_backbone(config["method"]["backbone"])
    told = POINTS.describe(config, backbone)
    voxels = _told(told)
    assert voxels is not None
    return {"backbone": told["backbone"], "voxels": voxels}


def check_voxels(voxels: Mapping[str, Any], protocol: ProtocolFile) -> None:
    """Refuse a protocol that states other voxels than the pretrainings have.

    Raises:
        UsageError: naming the field.
    """
    stated = protocol.fields["voxels"]
    if not isinstance(stated, str):
        _agree(voxels, stated, "every row")


def _agree(told: Mapping[str, Any], stated: Mapping[str, Any], path: str) -> None:
    for name, value in stated.items():
        wanted, found = _form(name, value), told.get(name, VOXELS[name])
        if found != wanted:
            raise UsageError(
                f"{path} was pretrained with voxels.{name} = {found}, the protocol says {wanted}",
                needed="the voxels of pretraining: the weights mean nothing on others",
                fix=f"set voxels.{name} = {found!r}, or voxels = {FROM_CHECKPOINT!r}",
            )


def _told(meta: Mapping[str, Any]) -> dict[str, Any] | None:
    """The file's own ``voxels`` section, or None."""
    section = meta.get("voxels")
    if not isinstance(section, Mapping):
        return None
    return _formed(section)


def _formed(section: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _form(name, value) for name, value in input_fields(section).items()}


def _form(name: str, value: Any) -> Any:
    """One way to write each value: plain lists, three sizes."""
    if name == "size" and isinstance(value, (int, float)):
        return [float(value)] * 3
    if name in ("size", "low", "high") and isinstance(value, (list, tuple)):
        return [float(number) for number in value]
    return list(value) if isinstance(value, (list, tuple)) else value
