from __future__ import annotations

from densecl.report.element import Markup, join, tag


def test_text_and_attributes_are_escaped_and_markup_is_not():
    assert tag("p", "<b>&", Markup("<i></i>")) == "<p>&lt;b&gt;&amp;<i></i></p>"
    assert tag("p", title="\"'<>&") == '<p title="&quot;&#x27;&lt;&gt;&amp;"></p>'


def test_children_are_flattened_and_none_left_out():
    assert join("a", None, ["b", (Markup("<br>"), ["c"])], iter(["d"])) == "ab<br>cd"


def test_attributes_are_named_as_in_html():
    written = tag("a", class_="x", aria_label="y", hidden=True, href=None, title="", id=False)
    assert written == '<a class="x" aria-label="y" hidden></a>'
    assert tag("img", alt="") == '<img alt="">'
    assert tag("meta", name="n", content=0) == '<meta name="n" content="0">'


def test_an_element_inside_another_is_not_escaped_twice():
    assert tag("p", tag("b", "&")) == "<p><b>&amp;</b></p>"
