"""Colour augmentation: albumentations makes the pixels, the draws are ours.

albumentations 2.0.8 hands one seed to every transform of a ``Compose``, so that after reseeding
all of them see the same first number: each grey view is then also a blurred one. Drawing here,
from one generator per view, keeps the choices independent and a view a function of its ids.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

# its import otherwise asks a server for the newest version
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations
from albumentations.augmentations.blur.functional import create_gaussian_kernel_1d

_JITTER = albumentations.ColorJitter(p=1.0)
_GREY = albumentations.ToGray(num_output_channels=3, p=1.0)
_BLUR = albumentations.GaussianBlur(p=1.0)
_SOLARISE = albumentations.Solarize(p=1.0)


@dataclass(frozen=True)
class Photometric:
    """How strong and how frequent each colour operation is. The default changes nothing.

    Attributes:
        brightness, contrast, saturation: factor drawn from [max(0, 1 - s), 1 + s].
        hue: shift drawn from [-hue, hue], in turns of the colour wheel; at most 0.5.
        jitter: probability of the four above, applied in random order.
        grey: probability of a grey view (three equal channels).
        blur: probability of a Gaussian blur.
        blur_sigma: range of its sigma, in pixels of a view of ``blur_reference`` pixels.
        blur_reference: view side in pixels the sigma range is meant for. Published ranges are for
            224; smaller views scale it by sqrt(H W) / 224, so that the same share of the detail is
            lost. None = sigma in pixels of the view, whatever its size.
        solarise: probability of inverting every value of at least 128.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    jitter: float = 0.0
    grey: float = 0.0
    blur: float = 0.0
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    blur_reference: float | None = 224.0
    solarise: float = 0.0


@dataclass(frozen=True)
class ColourDraw:
    """One draw from a ``Photometric``: what happens to one view. None = not applied.

    Attributes:
        jitter: factors of brightness, contrast and saturation, and the shift of hue.
        order: the order the four are applied in.
        grey: whether the view is grey.
        sigma: of the blur, in view pixels.
        solarise: whether bright values are inverted.
    """

    jitter: tuple[float, float, float, float] | None
    order: tuple[int, ...]
    grey: bool
    sigma: float | None
    solarise: bool


def draw_colour(
    recipe: Photometric, size: tuple[int, int], random: np.random.Generator
) -> ColourDraw:
    """Decide the colour operations of one view of ``size`` (H, W).

    Every number is drawn whether it is needed or not: a probability changed in a config leaves
    the other choices of the view as they were.
    """
    chance = random.random(4)
    unit = random.random(5)
    order = tuple(int(i) for i in random.permutation(4))
    strengths = (recipe.brightness, recipe.contrast, recipe.saturation)
    factors = []
    for strength, u in zip(strengths, unit[:3], strict=True):
        low = max(0.0, 1.0 - strength)
        factors.append(low + float(u) * (1.0 + strength - low))
    hue = (2.0 * float(unit[3]) - 1.0) * recipe.hue
    low, high = recipe.blur_sigma
    scale = 1.0
    if recipe.blur_reference is not None:
        scale = (size[0] * size[1]) ** 0.5 / recipe.blur_reference
    sigma = (low + float(unit[4]) * (high - low)) * scale
    return ColourDraw(
        jitter=(factors[0], factors[1], factors[2], hue) if chance[0] < recipe.jitter else None,
        order=order,
        grey=bool(chance[1] < recipe.grey),
        sigma=sigma if chance[2] < recipe.blur and sigma > 0 else None,
        solarise=bool(chance[3] < recipe.solarise),
    )


def apply_colour(image: np.ndarray, draw: ColourDraw) -> np.ndarray:
    """Apply the operations in the published order: jitter, grey, blur, solarise.

    Args:
        image: (H, W, 3) uint8, RGB; not modified.
        draw: what to do.

    Returns:
        (H, W, 3) uint8; the input itself where nothing applies.

    Source: Chen et al. 2020 (SimCLR), appendix A; Grill et al. 2020 (BYOL), appendix B.
    """
    if draw.jitter is not None:
        brightness, contrast, saturation, hue = draw.jitter
        image = _JITTER.apply(image, brightness, contrast, saturation, hue, list(draw.order))
    if draw.grey:
        image = _GREY.apply(image)
    if draw.sigma is not None:
        image = _BLUR.apply(image, create_gaussian_kernel_1d(draw.sigma))
    if draw.solarise:
        image = _SOLARISE.apply(image, threshold=128 / 255)
    return image
