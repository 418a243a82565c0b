"""The layout that all pages of the desk share: one template, one stylesheet, the navigation, and who is labeling.

Each page is a template that extends ``base.html``. All files are in this package; no page loads anything from another
server. Scripts get their data from a JSON element, because no page has a script in its text.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Entry:
    """One entry of the navigation."""

    path: str
    title: str


class Layout:
    """Makes the pages of one desk.

    Args:
        project: title of the project.
        account: who is labeling.
        studio: address of the project in Label Studio.
        navigation: the entries of the navigation.
    """

    def __init__(self, project: str, account: str, studio: str, navigation: tuple[Entry, ...]) -> None:
        self._templates = Environment(loader=FileSystemLoader(_FOLDER / "templates"), autoescape=True)
        self._templates.filters["json"] = _json
        self._templates.globals.update(project=project, account=account, studio=studio, navigation=navigation)

    def page(self, request: Request, template: str, **values: Any) -> Response:
        """A page from a template."""
        text = self._templates.get_template(template).render(path=request.url.path, **values)
        return HTMLResponse(text)

    @staticmethod
    def files() -> Mount:
        """The route of stylesheets and scripts."""
        return Mount("/static", StaticFiles(directory=_FOLDER / "static"))


def _json(value: Any) -> Markup:
    """A value as JSON inside an HTML element: no text in it can end the element."""
    text = json.dumps(value).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Markup(text)  # noqa: S704 - every character that HTML reads is escaped above
