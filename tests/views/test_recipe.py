import pytest

from densecl.errors import UsageError
from densecl.views.recipe import RECIPES, resolve_recipe


def test_moco_recipe_has_the_published_values():
    (view,) = RECIPES["mocov2"]
    assert (view.brightness, view.contrast, view.saturation, view.hue) == (0.4, 0.4, 0.4, 0.1)
    assert (view.jitter, view.grey, view.blur, view.solarise) == (0.8, 0.2, 0.5, 0.0)
    assert (view.scale, view.hflip, view.blur_sigma) == ((0.2, 1.0), 0.5, (0.1, 2.0))
    assert view.ratio == (3 / 4, 4 / 3)


def test_byol_views_differ_in_blur_and_solarise_only():
    first, second = RECIPES["byol"]
    assert (first.brightness, first.contrast, first.saturation, first.hue) == (0.4, 0.4, 0.2, 0.1)
    assert (first.scale, first.blur, first.solarise) == ((0.08, 1.0), 1.0, 0.0)
    assert second.override(blur=1.0, solarise=0.0) == first
    assert (second.blur, second.solarise) == (0.1, 0.2)


def test_dict_overrides_its_base():
    first, second = resolve_recipe({"base": "byol", "grey": 0.0, "scale": [0.5, 1.0]})
    assert first.grey == second.grey == 0.0
    assert first.scale == (0.5, 1.0)
    assert second.blur == 0.1
    (view,) = resolve_recipe({"hflip": 0.0})
    assert view == RECIPES["mocov2"][0].override(hflip=0.0)


def test_unknown_recipe_names_the_known_ones():
    with pytest.raises(UsageError, match="byol"):
        resolve_recipe("simclr2")


def test_unknown_setting_names_the_nearest():
    with pytest.raises(UsageError, match="'solarise'"):
        resolve_recipe({"solarize": 0.1})


@pytest.mark.parametrize(
    "values",
    [
        {"grey": 1.5},
        {"hflip": -0.1},
        {"scale": (0.0, 1.0)},
        {"scale": (0.5, 1.5)},
        {"scale": (0.9, 0.5)},
        {"ratio": 1.0},
        {"hue": 0.6},
        {"brightness": -1.0},
        {"rotation": -5.0},
        {"blur_reference": 0},
    ],
)
def test_values_out_of_range_are_refused(values):
    with pytest.raises(UsageError, match=next(iter(values))):
        resolve_recipe(values)
