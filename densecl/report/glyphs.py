"""Shapes that say a verdict without colour."""

from __future__ import annotations

from densecl.report.element import Markup, join, tag
from densecl.report.number import Verdict

GLYPHS = {
    "better": "M6,1.6l5,8.6h-10z",
    "worse": "M6,10.4l5,-8.6h-10z",
    "inconclusive": "M2.2,6a3.8,3.8 0 1 0 7.6,0a3.8,3.8 0 1 0 -7.6,0z",
}


def glyph(word: str) -> Markup | None:
    """The shape that stands beside a verdict; None for other words."""
    if word not in GLYPHS:
        return None
    return tag(
        "svg", tag("path", d=GLYPHS[word]), class_="glyph", viewBox="0 0 12 12", aria_hidden="true"
    )


def verdict(found: Verdict) -> Markup:
    """A verdict with its shape."""
    note = tag("small", found.note) if found.note else None
    known = found.word if found.word in found.WORDS else None
    body = join(glyph(found.word), found.word)
    return tag("span", body, " " if note else None, note, class_=f"verdict {known or ''}".strip())
