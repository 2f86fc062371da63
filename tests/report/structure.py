"""What a page is made of, read by the standard library's parser."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"br", "hr", "img", "input", "link", "meta"}


@dataclass
class Element:
    """An element with its attributes, children and direct text."""

    name: str
    attributes: dict[str, str | None]
    parent: Element | None = None
    children: list[Element] = field(default_factory=list)
    text: str = ""

    def all(self, *names: str) -> list[Element]:
        """Elements below it, in order; of some names, or any."""
        found = []
        for child in self.children:
            found += [child] if not names or child.name in names else []
            found += child.all(*names)
        return found

    def words(self) -> str:
        """All text below it; that of children stands where the parser met it."""
        return " ".join(self.text.split())

    def get(self, key: str) -> str:
        """An attribute; "" where there is none."""
        return self.attributes.get(key) or ""

    def has(self, name: str) -> bool:
        """It is of a class."""
        return name in self.get("class").split()


class Page(HTMLParser):
    """A page whose every element is closed in order; anything else is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.root = Element("", {})
        self._open = [self.root]
        self.feed(text)
        self.close()
        assert self._open == [self.root], f"not closed: {self._open[-1].name}"

    def handle_starttag(self, tag, attrs):
        assert len({key for key, _ in attrs}) == len(attrs), f"{tag}: an attribute twice"
        element = Element(tag, dict(attrs), self._open[-1])
        self._open[-1].children.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_endtag(self, tag):
        assert self._open[-1].name == tag, f"</{tag}> closes <{self._open[-1].name}>"
        self._open.pop()

    def handle_data(self, data):
        for element in self._open:
            element.text += data

    def all(self, *names: str) -> list[Element]:
        """Elements of some names."""
        return self.root.all(*names)
