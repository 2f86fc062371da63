"""Parameter names of a ResNet in the libraries we hand weights to or take them from."""

from __future__ import annotations

import re


def to_mmseg(name: str, norm: str) -> str:
    """torchvision's name -> mmseg's: the same but for GroupNorm, ``bn1`` -> ``gn1``."""
    return re.sub(r"(^|\.)bn(\d)\.", r"\1gn\2.", name) if norm == "gn" else name


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
