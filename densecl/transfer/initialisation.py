"""Starting weights of a fine-tuning run, and the proof that they arrived."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from densecl.errors import UsageError
from densecl.models.build import build_backbone
from densecl.models.frozen import frozen
from densecl.models.mmseg_config import mmseg_config
from densecl.transfer.segmentation import build_mmseg_backbone
from densecl.weights.load import load_backbone
from densecl.weights.names import mmseg_key_map

StateDict = Mapping[str, Tensor]
Init = str | Path | StateDict | None
"""None = random (scratch), a checkpoint or export, or a backbone's state dict in our names."""

TOLERANCE = 1e-4
"""Allowed feature difference, relative to the largest feature: the same float32 sums in another
order differ by 1e-6, a missing or misplaced tensor by 1e-1."""


def random_backbone(
    backbone: Mapping[str, Any], seed: int, build: Callable[..., nn.Module] = build_backbone
) -> nn.Module:
    """A freshly initialised backbone, a function of (config, seed); torch's state is kept."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(backbone)


def starting_backbone(
    init: Init,
    backbone: Mapping[str, Any],
    seed: int,
    *,
    build: Callable[..., nn.Module] = build_backbone,
    load: Callable[..., nn.Module] = load_backbone,
) -> nn.Module:
    """The backbone that a run starts from, in our own implementation.

    Args:
        init: see ``Init``.
        backbone: config of the backbone, as it was pretrained.
        seed: of the random weights when ``init`` is None.
        build: from a config to a backbone.
        load: from a file to a backbone.

    Raises:
        UsageError: a state dict that does not fit the config key by key.
    """
    if isinstance(init, (str, Path)):
        return load(init)
    model = random_backbone(backbone, seed, build)
    if init is not None:
        try:
            model.load_state_dict(dict(init), strict=True)
        except RuntimeError as error:
            raise UsageError(
                f"the starting weights do not fit the backbone config: {error}",
                needed="exactly the parameters and buffers of the configured backbone",
                fix="set the protocol's backbone to the one that was pretrained",
            ) from error
    return model


def _segmentation_backbone(backbone: Mapping[str, Any]) -> nn.Module:
    return build_mmseg_backbone(mmseg_config(backbone))


@torch.no_grad()
def transplant(
    source: nn.Module,
    target: nn.Module,
    backbone: Mapping[str, Any],
    build: Callable[[Mapping[str, Any]], nn.Module] = _segmentation_backbone,
    library: str = "mmsegmentation",
) -> float:
    """Copy a backbone of ours into another library's backbone and check its features.

    The check reads the weights back *from the target*, puts them into a backbone of the library
    with the strides of pretraining (fine-tuning may have traded strides for dilation) that returns
    every map, and compares each with the source's on a fixed image.

    Args:
        source: our backbone, carrying the weights.
        target: the backbone of a segmentor or a detector; it may return fewer maps.
        backbone: config that ``source`` was built from.
        build: from that config to the library's backbone with all maps.
        library: for messages.

    Returns:
        The largest absolute feature difference.

    Raises:
        UsageError: keys or shapes differ, or the features do.
    """
    state = source.state_dict()
    names = mmseg_key_map(state, backbone)
    try:
        target.load_state_dict({names[key]: value for key, value in state.items()}, strict=True)
    except RuntimeError as error:
        raise UsageError(
            f"the backbone does not fit {library}'s: {error}",
            fix="set the protocol's backbone to the one that was pretrained",
        ) from error
    reference = build(backbone)
    reference.load_state_dict(target.state_dict(), strict=True)
    worst, largest = feature_difference(source, reference)
    if not worst <= TOLERANCE * max(largest, 1.0):
        raise UsageError(
            f"the loaded backbone gives other features than the pretrained one: they differ by"
            f" {worst:.3g}, the largest feature being {largest:.3g}",
            needed=f"at most {TOLERANCE:g} of the largest",
            fix="check stem, strides and norm of the protocol's backbone config",
        )
    return worst


def feature_difference(source: nn.Module, reference: nn.Module) -> tuple[float, float]:
    """Largest difference and largest feature, over all maps, on one fixed image.

    Args:
        source: returns ``Features``.
        reference: another library's backbone, returns a tuple of maps.

    Raises:
        UsageError: the two return maps of different shapes.
    """
    image = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with frozen(source), frozen(reference):
        ours = source(image).maps
        # where two stages share a size, the deeper one stays, as in ``Features``
        theirs = {tuple(each.shape): each for each in reference(image)}
    worst = largest = 0.0
    for stride, features in ours.items():
        other = theirs.get(tuple(features.shape))
        if other is None:
            raise UsageError(
                f"the map at stride {stride} has shape {tuple(features.shape)};"
                f" the other library's backbone has {sorted(theirs)}",
                fix="set the protocol's backbone to the one that was pretrained",
            )
        worst = max(worst, (features - other).abs().max().item())
        largest = max(largest, features.abs().max().item())
    return worst, largest
