"""Parameter names of a ResNet in the libraries we hand weights to or take them from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any


def to_mmseg(name: str, norm: str) -> str:
    """torchvision's name -> mmseg's: the same but for GroupNorm, ``bn1`` -> ``gn1``."""
    return re.sub(r"(^|\.)bn(\d)\.", r"\1gn\2.", name) if norm == "gn" else name


def mmseg_key_map(names: Iterable[str], backbone: Mapping[str, Any]) -> dict[str, str]:
    """Our name -> mmseg's, for the state of a backbone.

    Args:
        names: of the state dict; a wrapped network of mmseg sits under ``net.``.
        backbone: config of the backbone in our words.
    """
    if str(backbone.get("type", "")).startswith("mmseg."):
        return {name: name.removeprefix("net.") for name in names}
    return {name: to_mmseg(name, backbone.get("norm", "bn")) for name in names}


def from_mmseg(name: str) -> str:
    """mmseg's name -> torchvision's."""
    return re.sub(r"(^|\.)gn(\d)\.", r"\1bn\2.", name)


def from_detectron2(name: str) -> str:
    """detectron2's name -> torchvision's: ``res3.0.conv1.norm.`` -> ``layer2.0.bn1.``."""
    name = name.removeprefix("backbone.bottom_up.").removeprefix("stem.")
    name = re.sub(r"^res(\d)\.", lambda m: f"layer{int(m[1]) - 1}.", name)
    name = re.sub(r"(^|\.)conv(\d)\.norm\.", r"\1bn\2.", name)
    name = name.replace("shortcut.norm.", "downsample.1.")
    return name.replace("shortcut.", "downsample.0.")
