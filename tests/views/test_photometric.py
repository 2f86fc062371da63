import numpy as np
import pytest

from densecl.data.seeding import rng
from densecl.views.photometric import ColourDraw, Photometric, apply_colour, draw_colour
from densecl.views.recipe import RECIPES

NOTHING = ColourDraw(jitter=None, order=(0, 1, 2, 3), grey=False, sigma=None, solarise=False)


def noise(size=48):
    return rng(0, size).integers(0, 256, (size, size, 3), dtype=np.uint8)


def with_(**values):
    return ColourDraw(**{**NOTHING.__dict__, **values})


def draws(recipe, count=4000, size=(224, 224)):
    return [draw_colour(recipe, size, rng(1, i)) for i in range(count)]


@pytest.mark.parametrize(
    ("name", "view", "blur", "solarise"),
    [("mocov2", 0, 0.5, 0.0), ("byol", 0, 1.0, 0.0), ("byol", 1, 0.1, 0.2)],
)
def test_operations_come_as_often_as_published(name, view, blur, solarise):
    made = draws(RECIPES[name][view])
    rates = {
        "jitter": np.mean([draw.jitter is not None for draw in made]),
        "grey": np.mean([draw.grey for draw in made]),
        "blur": np.mean([draw.sigma is not None for draw in made]),
        "solarise": np.mean([draw.solarise for draw in made]),
    }
    # 0.03: four standard deviations of a rate over 4000 draws
    expected = {"jitter": 0.8, "grey": 0.2, "blur": blur, "solarise": solarise}
    assert rates == pytest.approx(expected, abs=0.03)


def test_factors_fill_the_published_ranges():
    jitter = np.array([d.jitter for d in draws(RECIPES["mocov2"][0]) if d.jitter is not None])
    assert jitter.min(0) == pytest.approx([0.6, 0.6, 0.6, -0.1], abs=0.01)
    assert jitter.max(0) == pytest.approx([1.4, 1.4, 1.4, 0.1], abs=0.01)
    byol = np.array([d.jitter for d in draws(RECIPES["byol"][1]) if d.jitter is not None])
    assert [byol[:, 2].min(), byol[:, 2].max()] == pytest.approx([0.8, 1.2], abs=0.01)


def test_operations_are_chosen_independently():
    made = draws(RECIPES["mocov2"][0])
    grey = np.array([draw.grey for draw in made])
    blur = np.array([draw.sigma is not None for draw in made])
    jitter = np.array([draw.jitter is not None for draw in made])
    for a, b in ((grey, blur), (grey, jitter), (blur, jitter)):
        assert abs(np.corrcoef(a, b)[0, 1]) < 0.07  # four standard deviations


def test_all_orders_of_the_jitter_occur():
    assert len({draw.order for draw in draws(RECIPES["mocov2"][0], 500)}) == 24


@pytest.mark.parametrize(("side", "scale"), [(224, 1.0), (64, 64 / 224), (448, 2.0)])
def test_blur_scales_with_the_view(side, scale):
    recipe = Photometric(blur=1.0)
    sigma = [draw.sigma for draw in draws(recipe, 2000, (side, side))]
    assert [min(sigma), max(sigma)] == pytest.approx([0.1 * scale, 2.0 * scale], rel=0.05)


def test_blur_without_reference_is_in_view_pixels():
    recipe = Photometric(blur=1.0, blur_reference=None)
    sigma = [draw.sigma for draw in draws(recipe, 2000, (64, 64))]
    assert [min(sigma), max(sigma)] == pytest.approx([0.1, 2.0], rel=0.05)


def test_a_changed_probability_leaves_the_other_choices():
    some = draw_colour(RECIPES["mocov2"][0], (64, 64), rng(3))
    none = draw_colour(Photometric(blur_sigma=(0.1, 2.0)), (64, 64), rng(3))
    assert none == with_(order=some.order)
    one = draw_colour(Photometric(blur=1.0), (64, 64), rng(3))
    other = draw_colour(Photometric(blur=1.0, grey=1.0, jitter=1.0), (64, 64), rng(3))
    assert one.sigma == other.sigma


def test_nothing_drawn_changes_nothing():
    image = noise()
    assert apply_colour(image, NOTHING) is image


def test_unit_factors_change_nothing():
    image = noise()
    assert np.array_equal(apply_colour(image, with_(jitter=(1.0, 1.0, 1.0, 0.0))), image)


def test_brightness_multiplies():
    image = noise() // 2
    bright = apply_colour(image, with_(jitter=(1.4, 1.0, 1.0, 0.0)))
    assert np.abs(bright - 1.4 * image.astype(float)).max() <= 1


def test_contrast_pulls_towards_the_mean_grey():
    image = noise()
    flat = apply_colour(image, with_(jitter=(1.0, 0.6, 1.0, 0.0)))
    mean = (image @ np.array([0.299, 0.587, 0.114])).mean()
    assert np.abs(flat - (0.6 * image + 0.4 * mean)).max() <= 1.5


def test_saturation_pulls_towards_the_pixels_grey():
    image = noise()
    pale = apply_colour(image, with_(jitter=(1.0, 1.0, 0.6, 0.0)))
    grey = (image @ np.array([0.299, 0.587, 0.114]))[..., None]
    assert np.abs(pale - (0.6 * image + 0.4 * grey)).max() <= 1.5


def test_a_third_of_a_turn_of_hue_makes_red_green():
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 200
    green = apply_colour(red, with_(jitter=(1.0, 1.0, 1.0, 1 / 3)))
    assert np.abs(green[0, 0].astype(int) - (0, 200, 0)).max() <= 3


def test_grey_has_equal_channels_of_the_luma():
    image = noise()
    grey = apply_colour(image, with_(grey=True))
    assert (grey == grey[..., :1]).all()
    assert np.abs(grey[..., 0] - image @ np.array([0.299, 0.587, 0.114])).max() <= 1


def test_blurred_edge_has_the_drawn_sigma_and_stays_in_place():
    image = np.zeros((81, 81, 3), np.uint8)
    image[:, :40] = 200
    edge = apply_colour(image, with_(sigma=3.0))[40, :, 0].astype(float) / 200
    slope = -np.diff(edge)
    x = np.arange(80)
    mean = (slope * x).sum() / slope.sum()
    sigma = np.sqrt((slope * (x - mean) ** 2).sum() / slope.sum())
    assert sigma == pytest.approx(3.0, abs=0.15)
    assert mean == pytest.approx(39.0, abs=0.02)


def test_solarise_inverts_from_128_on():
    image = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, -1)
    result = apply_colour(image, with_(solarise=True))
    assert np.array_equal(result, np.where(image >= 128, 255 - image, image))


def test_input_is_not_modified():
    image = noise()
    apply_colour(
        image, ColourDraw((1.3, 0.7, 1.2, 0.05), (3, 1, 0, 2), grey=True, sigma=1.0, solarise=True)
    )
    assert np.array_equal(image, noise())
