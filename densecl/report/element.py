"""HTML written so that what was not meant as markup never becomes markup."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

VOID = frozenset({"br", "hr", "img", "input", "link", "meta"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Child = Markup | str | None | Iterable[Any]


def join(*children: Child) -> Markup:
    """Children in order: markup as it is, other text escaped, None left out, lists flattened."""
    parts: list[str] = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, Markup):
            parts.append(child)
        elif isinstance(child, str):
            parts.append(escape(child, quote=False))
        else:
            parts.append(join(*child))
    return Markup("".join(parts))


def tag(name: str, /, *children: Child, **attributes: Any) -> Markup:
    """An element.

    Args:
        name: of the element.
        children: see ``join``.
        attributes: ``class_`` is ``class``, other underscores become hyphens; True stands for an
            attribute without a value; None, False and "" leave it out, but for ``alt``.
    """
    written = []
    for key, value in attributes.items():
        key = key.rstrip("_").replace("_", "-")
        if value is None or value is False or (value == "" and key != "alt"):
            continue
        written.append(f" {key}" if value is True else f' {key}="{escape(str(value))}"')
    opened = f"<{name}{''.join(written)}>"
    return Markup(opened if name in VOID else f"{opened}{join(*children)}</{name}>")
