"""View recipes: the published ones by name, and any of their values overridden."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from typing import Any

from densecl.errors import UsageError
from densecl.views.photometric import Photometric

_PROBABILITIES = ("jitter", "grey", "blur", "solarise", "hflip", "vflip")
_PAIRS = ("scale", "ratio", "blur_sigma")


@dataclass(frozen=True)
class ViewRecipe(Photometric):
    """How one view is cut and coloured; the colour fields are those of ``Photometric``.

    Attributes:
        crop: False = the whole image, resized; then ``scale`` and ``ratio`` are not used.
        scale: range of the crop's area as a share of the image's.
        ratio: range of the crop's width / height.
        hflip, vflip: probability of a mirrored view.
        rotation: degrees; the view is turned about its centre by U(-rotation, rotation).
        shear: degrees; its x axis is sheared by U(-shear, shear).
        fill: RGB of what lies outside the image (only rotated and sheared views reach there).
    """

    crop: bool = True
    scale: tuple[float, float] = (0.2, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    hflip: float = 0.5
    vflip: float = 0.0
    rotation: float = 0.0
    shear: float = 0.0
    fill: tuple[int, int, int] = (124, 116, 104)

    def override(self, **values: Any) -> ViewRecipe:
        """The recipe with some values replaced.

        Raises:
            UsageError: an unknown name or a value out of range.
        """
        known = {item.name for item in fields(self)}
        for name in values:
            if name not in known:
                close = get_close_matches(name, known, n=1)
                raise UsageError(
                    f"unknown view setting {name!r}",
                    needed=", ".join(sorted(known)),
                    fix=f"did you mean {close[0]!r}?" if close else "remove it",
                )
        tuples = {k: tuple(v) for k, v in values.items() if isinstance(v, (list, tuple))}
        recipe = replace(self, **{**values, **tuples})
        _check(recipe)
        return recipe


_MOCO = ViewRecipe(
    brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, jitter=0.8, grey=0.2, blur=0.5
)
_BYOL = replace(_MOCO, saturation=0.2, scale=(0.08, 1.0), blur=1.0)

RECIPES: dict[str, tuple[ViewRecipe, ...]] = {
    # Chen et al. 2020 (MoCo v2), section 3; DenseCL uses it unchanged
    "mocov2": (_MOCO,),
    # Grill et al. 2020, appendix B, table 6; PixPro and SlotCon use it. Two unlike views.
    "byol": (_BYOL, replace(_BYOL, blur=0.1, solarise=0.2)),
    "none": (ViewRecipe(crop=False, hflip=0.0),),
}


def resolve_recipe(recipe: str | Mapping[str, Any]) -> tuple[ViewRecipe, ...]:
    """A recipe's views; view v of a sample uses entry ``v % len(...)``.

    Args:
        recipe: a name from ``RECIPES``, or a dict of ``ViewRecipe`` fields with the name it starts
            from under ``base`` (default "mocov2").

    Raises:
        UsageError: unknown name or setting, value out of range.
    """
    values: dict[str, Any] = {}
    name: Any = recipe
    if isinstance(recipe, Mapping):
        values = dict(recipe)
        name = values.pop("base", "mocov2")
    if name not in RECIPES:
        raise UsageError(
            f"unknown view recipe {name!r}",
            needed=f"one of {', '.join(map(repr, RECIPES))}",
            fix="set views.recipe, or give a dict with `base` and the values that differ",
        )
    return tuple(view.override(**values) for view in RECIPES[name])


def _check(recipe: ViewRecipe) -> None:
    for name in _PROBABILITIES:
        value = getattr(recipe, name)
        if not 0.0 <= value <= 1.0:
            raise UsageError(f"views.{name}={value!r} is not a probability", needed="0 to 1")
    for name in _PAIRS:
        value = getattr(recipe, name)
        if not (isinstance(value, tuple) and len(value) == 2 and 0.0 < value[0] <= value[1]):
            raise UsageError(
                f"views.{name}={value!r} is not a range", needed="(low, high), 0 < low <= high"
            )
    if recipe.scale[1] > 1.0:
        raise UsageError(
            f"views.scale={recipe.scale!r} asks for more than the image", needed="at most (_, 1.0)"
        )
    for name, most in (("hue", 0.5), ("rotation", 180.0), ("shear", 60.0)):
        value = getattr(recipe, name)
        if not 0.0 <= value <= most:
            raise UsageError(f"views.{name}={value!r} is out of range", needed=f"0 to {most:g}")
    for name in ("brightness", "contrast", "saturation"):
        if getattr(recipe, name) < 0.0:
            raise UsageError(f"views.{name} is negative", needed="0 or more")
    if recipe.blur_reference is not None and recipe.blur_reference <= 0:
        raise UsageError(
            f"views.blur_reference={recipe.blur_reference!r}",
            needed="a view side in pixels, or None",
        )
