"""The same weights at another resolution: a ResNet's stages with other strides."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from densecl.errors import UsageError
from densecl.models.build import build_backbone, config_of


def restrided(backbone: nn.Module, strides: Sequence[int]) -> nn.Module:
    """A backbone whose stages stride differently, with the weights and mode of ``backbone``.

    Nothing is dilated in exchange: a stage that strides by 1 instead of 2 sees half as far.

    Args:
        backbone: a ResNet.
        strides: of its stages in order; () = as they are. Where two stages come to share a stride
            the deeper one's map is returned, so (1, 2, 1, 2) is how to read the third at 8.

    Raises:
        UsageError: the backbone has no stages with strides, or another number of them.
    """
    if not strides:
        return backbone
    config = config_of(backbone)
    if config is None or len(config.get("strides", ())) != len(strides):
        kind = type(backbone).__name__ if config is None else config["type"]
        raise UsageError(
            f"stage_strides = {tuple(strides)} for the backbone {kind}",
            needed="a stride for each stage of a ResNet",
            fix="set stage_strides = () to take the backbone as it is",
        )
    other = build_backbone({**config, "strides": tuple(strides)})
    other.load_state_dict(backbone.state_dict())
    device = next((p.device for p in backbone.parameters()), None)
    return other.to(device).train(backbone.training)
