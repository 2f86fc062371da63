"""Core-tuning per pixel: the part of a segmentor that exists while it is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.nn import functional

from densecl.errors import UsageError
from densecl.losses.numerics import full_precision, normalise, promote
from densecl.methods.finetune.class_memory import ClassMemory
from densecl.methods.finetune.core_tuning import (
    focal_contrast,
    hard_partners,
    mixtures,
    sample_pixels,
    soft_cross_entropy,
)
from densecl.models.heads import MLPProjector
from densecl.pairs.maps import read_cells


@dataclass(frozen=True)
class CoreTuning:
    """Settings of Core-tuning.

    Attributes:
        eta: weight of what is added to the segmentation loss; 0 is plain fine-tuning.
        temperature: of the contrast.
        alpha: of the Beta distribution that mixtures are drawn from; 0 mixes nothing in.
        smooth: weight, within ``eta``, of the cross entropy of sampled and mixed pixels through a
            linear classifier of their own.
        pixels: most pixels of a class in a picture.
        rows: most pixels of a batch.
        level: which of the backbone's maps, by position; -1 is the last.
        dim: D of the contrast's embedding.
        memory: rows kept of each class and compared with as well; 0 = none.
    """

    eta: float = 0.1
    temperature: float = 0.07
    alpha: float = 1.0
    smooth: float = 1.0
    pixels: int = 64
    rows: int = 2048
    level: int = -1
    dim: int = 256
    memory: int = 0

    def __post_init__(self) -> None:
        needed = {
            "eta": self.eta >= 0,
            "temperature": self.temperature > 0,
            "alpha": self.alpha >= 0,
            "smooth": self.smooth >= 0,
            "pixels": self.pixels > 0,
            "rows": self.rows > 0,
            "dim": self.dim > 0,
            "memory": self.memory >= 0,
        }
        for name, holds in needed.items():
            if not holds:
                least = "> 0" if name in ("temperature", "pixels", "rows", "dim") else ">= 0"
                raise UsageError(f"contrast.{name} = {getattr(self, name)!r}", needed=least)

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> CoreTuning:
        """The settings that a mapping describes.

        Raises:
            UsageError: an unknown name, or a value out of range.
        """
        known = {item.name for item in fields(cls)}
        for name in given:
            if name not in known:
                close = get_close_matches(name, known, n=1)
                raise UsageError(
                    f"unknown: contrast.{name}",
                    needed="one of " + ", ".join(sorted(known)),
                    fix=f"did you mean {close[0]!r}?" if close else "",
                )
        return cls(**given)


class PixelContrast(nn.Module):
    """What Core-tuning adds to a segmentation loss; dropped when training ends.

    Args:
        channels: C of the backbone's map.
        num_classes: L.
        settings: the method's.

    Source: Zhang et al. 2021, section 3, on pixels drawn evenly over classes and pictures.
    """

    def __init__(self, channels: int, num_classes: int, settings: CoreTuning) -> None:
        super().__init__()
        self.settings, self.num_classes = settings, num_classes
        self.project = MLPProjector(channels, channels, settings.dim)
        self.classify = nn.Linear(channels, num_classes, bias=False) if settings.smooth else None
        size = settings.memory
        self.memory = ClassMemory(num_classes, size, settings.dim) if size else None

    def forward(
        self, features: Tensor, labels: Tensor, draw: np.random.Generator, ignore: int = 255
    ) -> Tensor:
        """The term to add to the segmentation loss, ``eta`` included, in float32.

        Args:
            features: (B, C, h, w), the map of ``settings.level``.
            labels: (B, H, W) int64 class ids or ``ignore``; a cell reads the pixel at its centre.
            draw: what pixels and mixtures are drawn with.
            ignore: label id without a class.
        """
        options = self.settings
        shape = (features.shape[2], features.shape[3])
        cells = read_cells(labels, shape, "centre")
        chosen = sample_pixels(cells, draw, pixels=options.pixels, rows=options.rows, ignore=ignore)
        with full_precision(features.device):
            rows = promote(features.movedim(1, -1).flatten(0, 2)[chosen])
            classes = cells.flatten()[chosen]
            targets = functional.one_hot(classes, self.num_classes).to(rows)
            partners = hard_partners(rows, classes)
            mixed, mixed_targets = mixtures(rows, targets, partners, options.alpha, draw)
            embedded = normalise(self.project(mixed))
            keys = key_targets = None
            if self.memory is not None:
                keys, key_classes = self.memory.kept()
                key_targets = functional.one_hot(key_classes, self.num_classes).to(rows)
            loss = focal_contrast(
                embedded,
                mixed_targets,
                temperature=options.temperature,
                keys=keys,
                key_targets=key_targets,
            )
            if self.classify is not None:
                added = soft_cross_entropy(self.classify(mixed), mixed_targets)
                loss = loss + options.smooth * added
            if self.memory is not None:
                self.memory.push(embedded[: len(rows)].detach(), classes)
            return options.eta * loss
