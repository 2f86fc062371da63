"""Colours of the page in light and in dark, and how well they can be told from one another."""

from __future__ import annotations

from collections.abc import Mapping

LIGHT = {
    "paper": "#fdfdfb",
    "raised": "#f4f4ef",
    "ink": "#1c1e22",
    "soft": "#575c66",
    "line": "#d9d9d2",
    "strong": "#8a8e96",
    "accent": "#0b5394",
    "better": "#0f5fa8",
    "worse": "#ad4508",
    "neutral": "#666b74",
    "warn": "#6b4a00",
    "warned": "#fdf3d3",
    "s0": "#0f5fa8",
    "s1": "#b5480a",
    "s2": "#859463",
    "s3": "#532b4e",
    "s4": "#c475a0",
    "s5": "#691f1e",
}
DARK = {
    "paper": "#15171b",
    "raised": "#1e2126",
    "ink": "#e8e9ec",
    "soft": "#a7acb6",
    "line": "#33373f",
    "strong": "#777d88",
    "accent": "#8abdf3",
    "better": "#72b4f5",
    "worse": "#f39a5f",
    "neutral": "#9fa5af",
    "warn": "#f3d58a",
    "warned": "#332b14",
    "s0": "#72b4f5",
    "s1": "#f39a5f",
    "s2": "#bbefc7",
    "s3": "#7a71fa",
    "s4": "#e94286",
    "s5": "#e7ea44",
}
"""The series were chosen for the largest least difference between any two of them as seen with and
without each kind of colour blindness; each also has its own marker."""

SERIES = sum(name[0] == "s" and name[1:].isdigit() for name in LIGHT)
SHADES = 10
"""Steps of a heat map's ramp, beside the empty one."""

READABLE = 4.5
"""Contrast of text, WCAG 2.2 level AA."""

HEAT = {"light": ("#fdfdfb", "#08478a"), "dark": ("#15171b", "#9fd0ff")}


def mixed(first: str, second: str, share: float) -> str:
    """``first`` with a share of ``second``, as ``#rrggbb``."""
    pairs = zip(_bytes(first), _bytes(second), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def shades(theme: str) -> list[tuple[str, str]]:
    """(background, text) of the steps 0 to ``SHADES`` of the ramp.

    The text is the theme's ink or paper where that can be read, else black or white.
    """
    empty, full = HEAT[theme]
    own = (LIGHT if theme == "light" else DARK)["ink"], empty
    ramp = [mixed(empty, full, (k / SHADES) ** 0.9) for k in range(SHADES + 1)]
    return [(back, _clearest(back, own)) for back in ramp]


def _clearest(back: str, own: tuple[str, str]) -> str:
    best = max(own, key=lambda ink: contrast(ink, back))
    if contrast(best, back) >= READABLE:
        return best
    return max(("#000000", "#ffffff"), key=lambda ink: contrast(ink, back))


def contrast(first: str, second: str) -> float:
    """Contrast of two colours, 1 to 21. Source: WCAG 2.2, "contrast ratio"."""
    light, dark = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    channels = [value / 255 for value in _bytes(colour)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def _bytes(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def stylesheet() -> str:
    """The colours as CSS variables: dark by the system's wish or the page's, light on paper."""
    light, dark = _rules(LIGHT, "light"), _rules(DARK, "dark")
    return "\n".join(
        [
            f":root{{color-scheme:light;{light}}}",
            "@media (prefers-color-scheme:dark){"
            f":root:not([data-theme=light]){{color-scheme:dark;{dark}}}}}",
            f":root[data-theme=dark]{{color-scheme:dark;{dark}}}",
            f"@media print{{:root:root:root{{color-scheme:light;{light}}}}}",
            *(f".h{k}{{background:var(--h{k});color:var(--t{k})}}" for k in range(SHADES + 1)),
            *(f".s{k}{{--series:var(--s{k})}}" for k in range(SERIES)),
        ]
    )


def _rules(colours: Mapping[str, str], theme: str) -> str:
    own = [f"--{name}:{value}" for name, value in colours.items()]
    for k, (back, text) in enumerate(shades(theme)):
        own += [f"--h{k}:{back}", f"--t{k}:{text}"]
    return ";".join(own)
