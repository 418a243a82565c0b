"""Who may use the desk: the browser that was opened with the address that the command printed, and nobody else.

Invariant: a request is answered only if its Host is this server's own, so that a foreign name that is pointed at this
computer (DNS rebinding) reaches nothing; if it has the cookie, which a browser gets once for the random token of the
address; and, if it changes something, if the page that sent it came from this server (Origin, Sec-Fetch-Site). The
token and the cookie appear in no log, and no page of the desk is shown inside another page.

Cookies do not know ports: a page of another server on this computer counts as the same site, and its requests carry the
cookie. So the cookie alone never allows a change.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MOST_BYTES = 4_000_000
"""Length of the longest request."""

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

_AGAIN = "Open the address that `pelagia label sheets` printed: it is valid while the command runs."


class Guard:
    """ASGI middleware that refuses every request that is not from the person's own browser.

    Attributes:
        token: the token of the address that the command prints.
    """

    def __init__(self, app: Any, port: int, token: str = "") -> None:
        self._app = app
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        self._cookie = f"pelagia_desk_{port}"
        self._session = secrets.token_urlsafe(32)
        self.token = token or secrets.token_urlsafe(24)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        answer = self._own_answer(Request(scope))
        await (self._app if answer is None else answer)(scope, receive, send_with_headers)

    def _own_answer(self, request: Request) -> Response | None:
        """The refusal, or the answer to the address with the token; None if the request may pass."""
        headers = request.headers
        host = headers.get("host", "")
        if host not in self._hosts:
            return _refused(421, f"This address is not that of the sheet page. {_AGAIN}")
        if request.url.path.startswith("/enter/"):
            return self._enter(request)
        if not _equal(request.cookies.get(self._cookie, ""), self._session):
            return _refused(403, f"This page is private. {_AGAIN}")
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return _refused(403, f"Another page sent this request. {_AGAIN}")
        if request.method not in ("GET", "HEAD"):
            return self._change(headers, host)
        return None

    def _enter(self, request: Request) -> Response:
        if request.method != "GET" or not _equal(request.url.path.removeprefix("/enter/"), self.token):
            return _refused(403, f"This token is wrong. {_AGAIN}")
        answer = RedirectResponse("/", status_code=303)
        answer.set_cookie(self._cookie, self._session, httponly=True, samesite="strict", path="/")
        return answer

    def _change(self, headers: Headers, host: str) -> Response | None:
        """The refusal of a request that changes something; None if it may pass."""
        if headers.get("origin") != f"http://{host}":
            return _refused(403, f"Another page sent this request. {_AGAIN}")
        if headers.get("content-type", "").partition(";")[0] != "application/json":
            return _refused(415, "Send JSON.")
        length = headers.get("content-length", "")
        if not length.isdecimal() or int(length) > MOST_BYTES:
            return _refused(413, "This request is too long.")
        return None


def _equal(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())


def _refused(status: int, text: str) -> Response:
    return PlainTextResponse(text, status)
