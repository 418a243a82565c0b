"""Renders a report as one HTML page, and the parts of pages that several reports have.

Invariant: a template escapes every value and every control character, because people choose the names of classes, files
and stations. Only charts are inserted as markup, by the module that draws them. The page's content security policy
forbids all network access.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import jinja2
import numpy as np
from numpy.typing import NDArray

from pelagia.system.files import printable

LOSSLESS = 101
"""The quality that keeps every pixel."""


@dataclass(frozen=True)
class Cell:
    """A cell of a sortable table: its text, the value to sort by, and the text of its interval."""

    text: str
    value: float = 0.0
    range: str = ""


@dataclass(frozen=True)
class Table:
    """A sortable table. The first cell of a row is the row's name and is sorted by its text."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Chart:
    """A chart as SVG with escaped text, its description for screen readers, and its caption."""

    svg: str
    alt: str
    caption: str


@dataclass(frozen=True)
class Thumbnail:
    """A small image: WebP in base64, its name, its description for screen readers, and the lines below it.

    ``data`` is empty if the image cannot be shown.
    """

    data: str
    name: str
    alt: str
    lines: Sequence[str]


def webp(pixels: NDArray[np.uint8], quality: int) -> str:
    """An image (uint8, H x W x 3, RGB) as WebP in base64. ``quality``: 1 to 100, or `LOSSLESS`."""
    data = cv2.imencode(".webp", pixels[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes()
    return base64.b64encode(data).decode("ascii")


def plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table of texts that is not sorted, for the macro ``plain``."""
    return Table(columns, [[Cell(text) for text in row] for row in rows])


def count_cell(number: int) -> Cell:
    """A cell with a count."""
    return Cell(f"{number:,}", number)


def render(package: str, template: str, **values: object) -> str:
    """The HTML text of a template in the folder ``pages`` of a package, filled with ``values``.

    A template may extend ``base.html`` and import the macros of ``parts.html``, which are in `pelagia.pages`.
    """
    own, shared = jinja2.PackageLoader(package, "pages"), jinja2.PackageLoader("pelagia.pages", "templates")
    pages = jinja2.Environment(
        loader=jinja2.ChoiceLoader([own, shared]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
    )
    return _only_own_script(pages.get_template(template).render(**values))


def _shown(value: object) -> object:
    """A text without characters that change the order of what is shown, or that no file can hold; markup as it is."""
    return printable(value, lines=True) if type(value) is str else value


def _only_own_script(text: str) -> str:
    """The page with a policy that allows its own script alone: a browser ignores any other, and all handlers in markup.

    Escaping keeps names harmless; this is a second lock.
    """
    start = text.rindex("<script>") + len("<script>")
    script = text[start : text.index("</script>", start)].encode()
    digest = base64.b64encode(hashlib.sha256(script).digest()).decode("ascii")
    return text.replace("script-src 'unsafe-inline'", f"script-src 'sha256-{digest}'", 1)
