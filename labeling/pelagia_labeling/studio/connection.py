"""The connection to a Label Studio server: its address, its token, and its errors.

Invariant: a token comes from the environment or from a private file, is sent only to the server that it belongs to,
and appears in no message. No exception of label-studio-sdk or httpx leaves this package: calls are made inside
`Connection.doing`, which turns them into a StudioError that says what to do.

The SDK accepts both kinds of token: a legacy token as it is, and a personal access token (a JWT), which it exchanges
for short-lived ones. It takes 2.5 s to import, so it is imported when `Connection.client` is first used. `get` and
`send` call the server without it.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from pelagia.errors import MissingExtra, StudioError
from pelagia.system.paths import StrPath, user_folder
from pelagia_labeling.studio.failures import TOKEN_VARIABLE as TOKEN_VARIABLE
from pelagia_labeling.studio.failures import URL_VARIABLE as URL_VARIABLE
from pelagia_labeling.studio.failures import errors_translated, require_success
from pelagia_labeling.studio.server import STATE_FILE, Studio, read_studio, require_private

if TYPE_CHECKING:
    import httpx

ROOT_VARIABLE = "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT"
OLDEST = (1, 20)
TIMEOUT = 60.0
UPLOAD_TIMEOUT = 120.0
WRITE_TIMEOUT = 600
WRITE_OPTIONS = {"max_retries": 0, "timeout_in_seconds": WRITE_TIMEOUT}
"""Request options of the SDK's calls that write. They allow no retry, because a retry could write twice."""


@dataclass(frozen=True)
class Address:
    """The address of a server, the token for it, and where the token came from."""

    url: str
    token: str = field(repr=False)
    token_source: str
    studio: Studio | None = None

    @property
    def token_kind(self) -> Literal["legacy", "personal"]:
        return "personal" if self.token.count(".") == 2 else "legacy"


@dataclass(frozen=True)
class Connection:
    """A connection that the server has accepted.

    Attributes:
        user: the account's e-mail address.
        version: the server's version.
        document_root: the server's folder of local files, as a path on this machine; None if this machine has none.
        access: the latest short-lived token of a personal access token, with the time when it was fetched.
    """

    address: Address
    http: httpx.Client = field(repr=False)
    user: str
    version: str
    document_root: Path | None
    access: dict[str, tuple[float, str]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def url(self) -> str:
        return self.address.url

    @cached_property
    def client(self) -> Any:
        """label-studio-sdk's client. Use it inside `doing`."""
        from label_studio_sdk import LabelStudio

        address = self.address
        return LabelStudio(base_url=address.url, api_key=address.token, httpx_client=self.http, timeout=TIMEOUT)

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Turns errors of the calls inside into a StudioError. The message names ``what``: "listing the projects"."""
        with errors_translated(self.address, what):
            yield

    def get(self, path: str, params: Mapping[str, str | int] | None = None, *, what: str) -> bytes:
        """The bytes at ``path`` of the server.

        Raises:
            StudioError: the status of the response is not 200; the error's attribute ``status`` holds that status.
        """
        with self.doing(what):
            return self._request(path, params)

    def get_json(self, path: str, params: Mapping[str, str | int] | None = None, *, what: str) -> Any:
        """The JSON at ``path`` of the server. Raises StudioError as `get` does."""
        with self.doing(what):
            return json.loads(self._request(path, params))

    def send(self, method: Literal["POST", "PATCH", "DELETE"], path: str, body: Any = None, *, what: str) -> Any:
        """Sends ``body`` as JSON, and returns the JSON of the answer; None if it is empty. Raises StudioError as `get`.

        It is sent once: sending it again could write twice.
        """
        with self.doing(what):
            headers = {"Authorization": self._authorization()}
            answer = self.http.request(method, path, json=body, headers=headers, timeout=WRITE_TIMEOUT)
            content = require_success(answer).content
            return json.loads(content) if content else None

    def post_files(
        self, path: str, files: Sequence[tuple[str, tuple[str, Any]]], params: Mapping[str, str], *, what: str
    ) -> Any:
        """Uploads files, each (field, (name, bytes)), and returns the JSON of the answer. Raises StudioError."""
        with self.doing(what):
            headers = {"Authorization": self._authorization()}
            answer = self.http.post(path, params=params, files=list(files), headers=headers, timeout=UPLOAD_TIMEOUT)
            return require_success(answer).json()

    def _request(self, path: str, params: Mapping[str, str | int] | None) -> bytes:
        answer = self.http.get(path, params=params, headers={"Authorization": self._authorization()})
        return require_success(answer).content

    def _authorization(self) -> str:
        """The authorization header of a request. A short-lived token is valid for five minutes and is used for one."""
        if "." not in self.address.token:
            return f"Token {self.address.token}"
        fetched, access = self.access.get("latest", (0.0, ""))
        if not access or time.monotonic() - fetched > 60:
            answer = self.http.post("/api/token/refresh/", json={"refresh": self.address.token})
            access = str(require_success(answer).json()["access"])
            self.access["latest"] = time.monotonic(), access
        return f"Bearer {access}"

    def require_root(self) -> Path:
        """The document root as a folder of this machine.

        Raises:
            StudioError: this machine and the server share no folder.
        """
        if self.document_root is None:
            raise StudioError(
                f"the server at {self.url} was not started here: upload the images with --upload, or set "
                f"{ROOT_VARIABLE} here and on the server to a folder that both see under the same path"
            )
        if not self.document_root.is_dir():
            raise StudioError(
                f"the document root {self.document_root} does not exist: mount it, or set {ROOT_VARIABLE} to another "
                "folder"
            )
        return self.document_root


def find_address(url: str | None = None, token: str | None = None, home: Path | None = None) -> Address:
    """The server's address (``url``, ``$LABEL_STUDIO_URL``, or the local server's address) and the token for it.

    Raises:
        StudioError: there is no address or no token, or other accounts may read the token.
    """
    studio = read_studio(home)
    address = url or os.environ.get(URL_VARIABLE) or (studio.url if studio else "")
    if not address:
        raise StudioError(
            f"no Label Studio is known: start one with `pelagia studio start`, or name one with --url or {URL_VARIABLE}"
        )
    address = address.rstrip("/")
    if not _is_address(address):
        raise StudioError(
            f"'{address}' is not an address such as http://127.0.0.1:8080: correct --url or {URL_VARIABLE}"
        )
    if page := _PAGE.search(address):
        raise StudioError(
            f"'{address}' is the address of a page: name the server alone, {address[: page.start()]}, with --url or "
            f"{URL_VARIABLE}"
        )
    local = studio if studio is not None and same_server(address, studio.url) else None
    if token:
        return Address(address, token, "the caller", local)
    if from_environment := os.environ.get(TOKEN_VARIABLE, "").strip():
        return Address(address, from_environment, TOKEN_VARIABLE, local)
    if local is not None:
        if not local.running:
            raise StudioError(f"no server answers at {address}: start it with `pelagia studio start`")
        return Address(address, local.token, str(local.home / STATE_FILE), local)
    return _with_token_file(address)


def _with_token_file(address: str) -> Address:
    """The address with the token of the private file."""
    file = token_file()
    if not file.is_file():
        raise StudioError(
            f"no token for {address}: copy one from its page Account & Settings into {TOKEN_VARIABLE}, or into {file} "
            "(chmod 600)"
        )
    require_private(file)
    return Address(address, file.read_text(encoding="utf-8", errors="replace").strip(), str(file))


_PAGE = re.compile(r"/(projects|tasks|user|organization)(/.*)?$")
"""The end of an address that was copied while a page of Label Studio was open."""


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and " " not in text
    except ValueError:
        return False


def token_file() -> Path:
    """The private file for the token of a server that was not started here."""
    return user_folder("config") / "token"


def connect(url: str | None = None, token: str | None = None, *, home: StrPath | None = None) -> Connection:
    """Connects to a server.

    Args:
        url: the server's address; by default ``$LABEL_STUDIO_URL``, or the server that `start_studio` started.
        token: the token to send; by default the token that `find_address` finds.
        home: the folder of the local server; by default `default_home`.

    Raises:
        MissingExtra: label-studio-sdk is not installed.
        StudioError: no server responds, the server is not a Label Studio or is too old, or it refuses the token.
    """
    address = find_address(url, token, None if home is None else Path(home))
    http = open_http(address)
    version = server_version(http, address)
    _require_token(address)
    connection = Connection(address, http, "", version, _document_root(address))
    account = connection.get_json("/api/current-user/whoami", what="reading the account")
    with connection.doing("reading the account"):
        return replace(connection, user=str(account["email"]))


def _require_token(address: Address) -> None:
    """Raises StudioError if the token has characters that no token has, for example because other text was copied."""
    if not re.fullmatch(r"[A-Za-z0-9._~+/=-]+", address.token):
        raise StudioError(
            f"{address.token_source} does not hold a token: copy one from the page Account & Settings of "
            f"{address.url}; a token is one word of letters and digits"
        )


def open_http(address: Address) -> httpx.Client:
    """An HTTP client. It uses no proxy for requests to this machine.

    The client opens a new connection for each request to a local server: on an open connection the system's delayed
    acknowledgements add 40 ms to each response of Label Studio (measured: 64 ms per call, 10 ms with a new connection).
    """
    try:
        import httpx  # comes with label-studio-sdk
    except ImportError:
        raise MissingExtra("Label Studio", "labeling", "label-studio-sdk") from None

    def refuse_other_host(request: httpx.Request) -> None:
        """Refuses a redirection to another host, because that host would get the token."""
        if request.url.host != httpx.URL(address.url).host:
            raise httpx.RequestError(f"it redirects to another server, {request.url.host}", request=request)

    limits = httpx.Limits(max_keepalive_connections=0 if _is_loopback(address.url) else 20)
    return httpx.Client(
        base_url=address.url,
        timeout=TIMEOUT,
        follow_redirects=True,
        trust_env=not _is_loopback(address.url),
        limits=limits,
        event_hooks={"request": [refuse_other_host]},
    )


def server_version(http: httpx.Client, address: Address) -> str:
    """The server's version; the request needs no token.

    Raises:
        StudioError: no server responds, or the server is not a Label Studio or is too old.
    """
    with errors_translated(address, "reading its version"):
        answer = http.get("/api/version/")
    try:
        about = answer.json() if answer.status_code == 200 else {}
    except ValueError:
        about = {}
    if not isinstance(about, dict) or "release" not in about or not any("label-studio" in key for key in about):
        raise StudioError(
            f"the server at {address.url} is not a Label Studio (it answered {answer.status_code} to /api/version/): "
            "check the address, or start one with `pelagia studio start`"
        )
    release = str(about["release"])
    numbers = tuple(int(number) for number in re.findall(r"\d+", release)[:2])
    if numbers and numbers < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise StudioError(
            f"the Label Studio at {address.url} is version {release}: update it, Pelagia needs {oldest} or later"
        )
    return release


def _document_root(address: Address) -> Path | None:
    if named := os.environ.get(ROOT_VARIABLE):
        return Path(named).expanduser().absolute()
    return address.studio.document_root if address.studio is not None else None


def _is_loopback(url: str) -> bool:
    return (urlsplit(url).hostname or "") in ("127.0.0.1", "localhost", "::1")


def same_server(one: str, other: str) -> bool:
    """Whether two addresses name the same server: they are equal, or both name this machine and the same port."""
    if one == other:
        return True
    return _is_loopback(one) and _is_loopback(other) and urlsplit(one).port == urlsplit(other).port
