"""Recipes of cloud views: the published ones by name, and any of their values overridden."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from typing import Any

from densecl.errors import UsageError

Range = tuple[float, float]

_PROBABILITIES = (
    "flip_x",
    "flip_y",
    "elastic_chance",
    "crop_chance",
    "drop_chance",
    "colour_contrast",
    "grey",
    "crop_aspect",
)
_SHARES = ("point_dropout", "beam_dropout", "drop", "crop")
_AMOUNTS = ("angle", "tilt", "shift", "jitter", "colour_shift", "colour_noise", "intensity_noise")


@dataclass(frozen=True)
class CloudRecipe:
    """How one view of a cloud is made, in this order. The default changes nothing.

    Points that are not finite or lie at (0, 0, 0) are always left out first.

    Attributes:
        range: metres from the sensor, [low, high), that points are kept in.
        beam_dropout: range of the share of beams that is lost.
        beams: where a scan has no ring, elevation is cut into so many beams.
        point_dropout: range of the share of points that is lost, each on its own.
        crop_chance: probability of keeping only a cuboid.
        crop: range of its sides, as shares of the cloud's extent.
        crop_aspect: at least two of the three shares have a ratio of at least this.
        crop_points: points that it holds at least.
        nearest: keep so many points, the nearest to a random one; None = all.
        centre: move the mean of the points to the origin before turning.
        axis: "z" turns about z, "any" about a random axis.
        angle: degrees; the turn is U(-angle, angle).
        tilt: degrees; further turns by U(-tilt, tilt) about x and y, the three in random order.
        flip_x, flip_y: probability of a mirrored axis.
        scale: range of one factor for all axes.
        shift: metres; the cloud moves by U(-shift, shift) on each axis.
        elastic: (granularity, magnitude) in metres of each elastic distortion.
        elastic_chance: probability of all of them.
        jitter: metres; normal noise on each coordinate.
        jitter_clip: metres; its limit.
        drop_chance: probability of losing the points in a cuboid.
        drop: range of its sides, as shares of the extent, one draw for the three.
        max_points: keep so many points at random; None = all.
        colour_contrast: probability of stretching the colours' range.
        colour_shift: each channel of all colours moves by U(-s, s), of 1.
        colour_noise: normal noise on each colour value, of 1.
        grey: probability of grey colours.
        intensity_gain: all intensities are multiplied by U(1 - g, 1 + g).
        intensity_noise: normal noise on each intensity.
    """

    range: Range = (0.0, math.inf)
    beam_dropout: Range = (0.0, 0.0)
    beams: int = 64
    point_dropout: Range = (0.0, 0.0)
    crop_chance: float = 0.0
    crop: Range = (0.5, 1.0)
    crop_aspect: float = 0.75
    crop_points: int = 1
    nearest: int | None = None
    centre: bool = False
    axis: str = "z"
    angle: float = 0.0
    tilt: float = 0.0
    flip_x: float = 0.0
    flip_y: float = 0.0
    scale: Range = (1.0, 1.0)
    shift: float = 0.0
    elastic: tuple[Range, ...] = ((0.2, 0.4), (0.8, 1.6))
    elastic_chance: float = 0.0
    jitter: float = 0.0
    jitter_clip: float = 0.05
    drop_chance: float = 0.0
    drop: Range = (0.0, 0.2)
    max_points: int | None = None
    colour_contrast: float = 0.0
    colour_shift: float = 0.0
    colour_noise: float = 0.0
    grey: float = 0.0
    intensity_gain: float = 0.0
    intensity_noise: float = 0.0

    def override(self, **values: Any) -> CloudRecipe:
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
        recipe = replace(self, **{name: _tuples(value) for name, value in values.items()})
        _check(recipe)
        return recipe


RECIPES: dict[str, tuple[CloudRecipe, ...]] = {
    "none": (CloudRecipe(),),
    # Xie et al. 2020, section 4, and its code: any axis, whole turns
    "pointcontrast": (CloudRecipe(centre=True, axis="any", angle=180.0),),
    # Hou et al. 2021 and its code: about z, a little about x and y; colour as its data loader
    "csc": (
        CloudRecipe(
            centre=True,
            angle=180.0,
            tilt=180.0 / 64,
            colour_contrast=0.2,
            colour_shift=0.1,
            colour_noise=0.05,
        ),
    ),
    # Sautier et al. 2022, section 4.1, and its code
    "slidr": (CloudRecipe(angle=180.0, flip_x=0.5, flip_y=0.5, drop_chance=1.0),),
    # Liu et al. 2023 publish no values for the turn and the scale: these are ours
    "fac": (
        CloudRecipe(
            crop_chance=1.0,
            crop_points=10_000,
            angle=180.0,
            flip_x=0.5,
            flip_y=0.5,
            scale=(0.95, 1.05),
            drop_chance=1.0,
            drop=(0.2, 0.2),
        ),
    ),
}


def resolve_recipe(recipe: str | Mapping[str, Any]) -> tuple[CloudRecipe, ...]:
    """A recipe's views; view v of a sample uses entry ``v % len(...)``.

    Args:
        recipe: a name from ``RECIPES``, or a dict of ``CloudRecipe`` fields with the name it
            starts from under ``base`` (default "none").

    Raises:
        UsageError: unknown name or setting, value out of range.
    """
    values: dict[str, Any] = {}
    name: Any = recipe
    if isinstance(recipe, Mapping):
        values = dict(recipe)
        name = values.pop("base", "none")
    if not isinstance(name, str) or name not in RECIPES:
        close = get_close_matches(str(name), RECIPES, n=1)
        raise UsageError(
            f"unknown view recipe {name!r}",
            needed=f"one of {', '.join(map(repr, RECIPES))}",
            fix=f"did you mean {close[0]!r}?"
            if close
            else "set views.recipe, or give a dict with `base` and the values that differ",
        )
    return tuple(view.override(**values) for view in RECIPES[name])


def _tuples(value: Any) -> Any:
    """Lists of a config as tuples, at any depth."""
    return tuple(map(_tuples, value)) if isinstance(value, (list, tuple)) else value


def _check(recipe: CloudRecipe) -> None:
    for name in _PROBABILITIES:
        _refuse(name, recipe, lambda value: _number(value) and 0 <= value <= 1, "0 to 1")
    for name in _SHARES:
        _refuse(
            name,
            recipe,
            lambda value: _is_range(value) and value[0] >= 0 and value[1] <= 1,
            "(low, high), 0 <= low <= high <= 1",
        )
    for name in _AMOUNTS:
        _refuse(name, recipe, lambda value: _number(value) and 0 <= value < math.inf, "0 or more")
    _refuse("angle", recipe, lambda value: value <= 180, "degrees, 0 to 180")
    _refuse("tilt", recipe, lambda value: value <= 180, "degrees, 0 to 180")
    _refuse("intensity_gain", recipe, lambda value: _number(value) and 0 <= value <= 1, "0 to 1")
    _refuse("jitter_clip", recipe, lambda value: _number(value) and value > 0, "metres, above 0")
    _refuse("axis", recipe, lambda value: value in ("z", "any"), '"z" or "any"')
    _refuse("centre", recipe, lambda value: isinstance(value, bool), "True or False")
    _refuse(
        "range",
        recipe,
        lambda value: _is_range(value) and 0 <= value[0] < value[1],
        "(low, high) in metres, 0 <= low < high",
    )
    _refuse(
        "scale",
        recipe,
        lambda value: _is_range(value) and value[0] > 0 and value[1] < math.inf,
        "(low, high), 0 < low <= high",
    )
    _refuse(
        "crop",
        recipe,
        lambda value: value[0] > 0,
        "(low, high), 0 < low <= high <= 1",
    )
    _refuse(
        "elastic",
        recipe,
        lambda value: isinstance(value, tuple) and all(map(_is_distortion, value)),
        "pairs of (granularity, magnitude) in metres, both above 0",
    )
    for name in ("beams", "crop_points"):
        _refuse(name, recipe, lambda value: _is_count(value), "a whole number, 1 or more")
    for name in ("nearest", "max_points"):
        _refuse(
            name,
            recipe,
            lambda value: value is None or _is_count(value),
            "a whole number, 1 or more, or None",
        )
    if recipe.axis == "any" and recipe.tilt:
        raise UsageError(
            f"views.tilt={recipe.tilt:g} beside views.axis='any', which tilts already",
            fix="set views.tilt=0, or views.axis='z'",
        )


def _refuse(name: str, recipe: CloudRecipe, accepts: Any, needed: str) -> None:
    value = getattr(recipe, name)
    if not accepts(value):
        raise UsageError(f"views.{name}={value!r}", needed=needed)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_range(value: Any) -> bool:
    pair = isinstance(value, tuple) and len(value) == 2 and all(map(_number, value))
    return pair and value[0] <= value[1]


def _is_distortion(value: Any) -> bool:
    pair = isinstance(value, tuple) and len(value) == 2 and all(map(_number, value))
    return pair and min(value) > 0 and max(value) < math.inf
