"""Write HTML in which no text can become markup: whatever is put into an element is escaped, unless it is one."""

import html
from collections.abc import Iterable
from typing import Final

_ALONE: Final = ("meta",)  # elements that have no end


class Markup(str):
    """Hold what is HTML already."""

    __slots__ = ()


def element(name: str, /, *children: str, **attributes: str | float) -> Markup:
    """Return an element; `class_` and `aria_label` are spelled `class` and `aria-label`."""
    given = "".join(f' {_attribute(key)}="{_escaped(str(value))}"' for key, value in attributes.items())
    return Markup(f"<{name}{given}>" + ("" if name in _ALONE else f"{joined(children)}</{name}>"))


def joined(parts: Iterable[str]) -> Markup:
    """Return parts one after the other, text among them escaped."""
    return Markup("".join(part if isinstance(part, Markup) else _escaped(part) for part in parts))


def table(caption: str, heads: Iterable[str], rows: Iterable[Iterable[str]]) -> Markup:
    """Return a table whose first column names its rows."""
    top = element("tr", *(element("th", head, scope="col") for head in heads))
    body = [element("tr", *_cells(list(row))) for row in rows]
    return element("table", element("caption", caption), element("thead", top), element("tbody", *body))


def bullets(lines: Iterable[str]) -> Markup:
    """Return a list."""
    return element("ul", *(element("li", line) for line in lines))


def _cells(row: list[str]) -> Iterable[Markup]:
    return (element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:]))


def _attribute(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def _escaped(text: str) -> str:
    """Return text as it may stand in an element or an attribute, without what turns or hides other text."""
    return html.escape("".join(each if each.isprintable() else " " if each.isspace() else "\ufffd" for each in text))
