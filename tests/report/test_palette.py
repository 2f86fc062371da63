from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

from densecl.report.palette import DARK, LIGHT, SERIES, SHADES, contrast, mixed, shades, stylesheet

THEMES = {"light": LIGHT, "dark": DARK}
every_theme = pytest.mark.parametrize("theme", THEMES)
# Machado et al. 2009, severity 1, for linear RGB.
BLIND = {
    "protan": "0.152286 1.052583 -0.204868 0.114503 0.786281 0.099216 -0.003882 -0.048116 1.051998",
    "deutan": "0.367322 0.860646 -0.227968 0.280085 0.672501 0.047413 -0.011820 0.042940 0.968881",
    "tritan": "1.255528 -0.076749 -0.178779 -0.078411 0.930809 0.147602 0.004733 0.691367 0.303900",
    "none": "1 0 0 0 1 0 0 0 1",
}


def linear(colour):
    values = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """CIE L*a*b* of linear sRGB under D65."""
    xyz = (
        np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
        @ np.clip(rgb, 0, 1)
        / [0.9505, 1.0, 1.089]
    )
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def seen(first, second, blind):
    matrix = np.array(BLIND[blind].split(), float).reshape(3, 3)
    return float(np.linalg.norm(lab(matrix @ linear(first)) - lab(matrix @ linear(second))))


def test_contrast_of_black_and_white_is_21_and_of_equals_1():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#123456", "#123456") == 1
    assert contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=1e-3)


@every_theme
def test_text_has_contrast_aa(theme):
    colours = THEMES[theme]
    text = [("ink", "paper"), ("ink", "raised"), ("soft", "paper"), ("soft", "raised")]
    text += [(name, "paper") for name in ("accent", "better", "worse", "neutral")]
    text += [("warn", "warned")]
    for name, back in text:
        assert contrast(colours[name], colours[back]) >= 4.5, (name, back)


@every_theme
def test_shapes_and_borders_of_buttons_have_contrast_aa(theme):
    colours = THEMES[theme]
    names = ["strong", "better", "worse", "neutral", *(f"s{k}" for k in range(SERIES))]
    for name in names:
        assert contrast(colours[name], colours["paper"]) >= 3, name


@every_theme
def test_numbers_on_every_shade_have_contrast_aa(theme):
    ramp = shades(theme)
    assert len(ramp) == SHADES + 1
    for back, text in ramp:
        assert contrast(back, text) >= 4.5, back
    steps = [contrast(back, ramp[0][0]) for back, _ in ramp]
    assert steps == sorted(steps)
    assert steps[-1] > 6


@every_theme
@pytest.mark.parametrize("blind", BLIND)
def test_colours_can_be_told_apart_by_the_colour_blind(theme, blind):
    colours = THEMES[theme]
    assert seen(colours["better"], colours["worse"], blind) > 40
    for one, other in itertools.combinations(range(SERIES), 2):
        assert seen(colours[f"s{one}"], colours[f"s{other}"], blind) > 25, (one, other)


def test_both_themes_name_the_same_colours_and_paper_is_light():
    assert list(LIGHT) == list(DARK)
    style = stylesheet()
    printed = style[style.index("@media print") :]
    assert f"--paper:{LIGHT['paper']}" in printed.partition("}")[0]
    assert style.count(f"--paper:{DARK['paper']}") == 2
    used = set(re.findall(r"var\(--([a-z]\w*)\)", style))
    assert used == {f"{letter}{k}" for letter in "ht" for k in range(SHADES + 1)} | {
        f"s{k}" for k in range(SERIES)
    }


def test_mixing_ends_at_both_colours():
    assert mixed("#102030", "#ffffff", 0.0) == "#102030"
    assert mixed("#102030", "#f0e0d0", 1.0) == "#f0e0d0"
    assert mixed("#000000", "#ffffff", 0.5) == "#808080"
