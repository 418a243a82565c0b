"""A local Label Studio in the background, ready to use: account, token and document root, all in one folder.

Invariant: all files of the server are in its home folder. ``studio.json`` (mode 0600) holds the address, the account
and the token; ``data/`` holds the database; ``files/`` holds the images (the document root). Account, token, labels and
images are kept when the server is stopped and started. The server listens only on 127.0.0.1, accepts no
sign-ups, and contacts no other server. It gets the password and the token through its environment, never through a
command line, which `ps` would show to others.

A home folder has one server: `start_studio` holds the lock ``start.lock`` until the server responds. This module does
not need label-studio-sdk.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pelagia.errors import InputError, StudioError
from pelagia.system.console import ProgressCallback
from pelagia.system.locking import exclusive_lock
from pelagia.system.paths import StrPath, folder_from_environment, user_folder
from pelagia_labeling.studio import process
from pelagia_labeling.studio.program import find_executable, last_line

HOME_VARIABLE = "PELAGIA_STUDIO_HOME"
USER = "pelagia@localhost"
STATE_FILE = "studio.json"
LOG_FILE = "label-studio.log"
LOCK_FILE = "start.lock"
FIRST_PORT = 8080
PORTS_TRIED = 200


@dataclass(frozen=True)
class Studio:
    """A local Label Studio. Its secrets do not show in its ``repr``.

    Attributes:
        home: the folder that holds all files of the server.
        document_root: the folder of the images that the server serves.
        pid: its process ID; 0 if it is not running.
        birth: when the process started, as returned by `process.birth`.
        already_running: whether the server was running before `start_studio` was called.
        program: the program that was started; empty for a server that an older Pelagia started.
    """

    home: Path
    url: str
    user: str
    password: str = field(repr=False)
    token: str = field(repr=False)
    document_root: Path
    version: str = ""
    pid: int = 0
    birth: str = ""
    already_running: bool = field(default=False, compare=False)
    program: str = ""

    @property
    def running(self) -> bool:
        return process.is_alive(self.pid, self.birth)

    @property
    def log(self) -> Path:
        return self.home / LOG_FILE


def default_home() -> Path:
    """``$PELAGIA_STUDIO_HOME``, or the folder where this system keeps a user's application data."""
    return folder_from_environment(HOME_VARIABLE) or user_folder("data") / "studio"


def restored_folder(home: Path) -> Path:
    """The folder beside ``home`` that a restore fills before it takes the place of ``home``."""
    return home.with_name(f"{home.name}.restored")


def holds_nothing(home: Path) -> bool:
    """Whether there is no folder ``home``, or no server and no file in it."""
    return not home.exists() or (home.is_dir() and not any(home.iterdir()))


def read_studio(home: Path | None = None) -> Studio | None:
    """The server of ``home``, running or not; None if no server was ever started there.

    Raises:
        StudioError: `studio.json` is damaged or cannot be read, or other accounts may read it.
    """
    home = home or default_home()
    path = home / STATE_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        text = ""
    except OSError as error:
        raise StudioError(f"cannot read {path}: {error.strerror}; make this file readable for your account") from None
    require_private(path)
    try:
        known = json.loads(text)
        return Studio(home=home, document_root=Path(known.pop("document_root")), **known)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise StudioError(f"{path} is damaged: restore it from a copy, or move {home} away and start again") from None


def require_private(path: Path) -> None:
    """Raises StudioError if other accounts may read a file that holds a secret."""
    if os.name == "posix" and path.stat().st_mode & 0o077:
        raise StudioError(f"{path} holds a secret, and other accounts may read it: type chmod 600 {path}")


def start_studio(
    home: StrPath | None = None,
    *,
    port: int | None = None,
    timeout: float = 180,
    progress: ProgressCallback = lambda done, total: None,
) -> Studio:
    """Starts the server of ``home`` and returns when it responds. If it is already running, returns the running server.

    If another process is starting it, waits until that process has finished.

    Args:
        home: the folder that holds all files of the server; by default `default_home`.
        port: the port to listen on; by default the port of the last start, or the first free port from 8080.
        timeout: seconds to wait until the server responds.
        progress: called with (seconds waited, ``timeout``).

    Raises:
        StudioError: Label Studio is not installed, the port is taken, or the server ended or did not respond in time
            (the message holds the last line of the log).
    """
    home = Path(home or default_home()).absolute()
    if restored_folder(home).is_dir() and holds_nothing(home):
        raise StudioError(
            f"restoring {home} was interrupted at its end: complete it with `pelagia studio doctor --fix`"
        )
    _make_home(home)
    with starting_lock(home, timeout):
        known = read_studio(home)
        if known is None or not known.running:
            return _launch(known or _new_studio(home), port, timeout, progress)
        version = _wait(known, lambda: not known.running, timeout, progress)  # its starter may have been killed
        return replace(known, version=version, already_running=True)


def _launch(studio: Studio, port: int | None, timeout: float, progress: ProgressCallback) -> Studio:
    """Starts the process and waits until the server responds; stops the process if it does not respond."""
    executable = find_executable()
    studio = replace(studio, url=_choose_url(studio.url, port), program=str(executable))
    child = process.spawn(_command(executable, studio), env=_environment(studio), cwd=studio.home, log=studio.log)
    studio = replace(studio, pid=child.pid, birth=process.birth(child.pid))
    save_studio(studio)
    try:
        version = _wait(studio, lambda: child.poll() is not None, timeout, progress)
    except BaseException:
        process.terminate(studio.pid, studio.birth, patience=2)
        save_studio(replace(studio, pid=0, birth=""))
        raise
    studio = replace(studio, version=version)
    save_studio(studio)
    return studio


def stop_studio(home: StrPath | None = None) -> bool:
    """Stops the server of ``home``; its data stay. Returns False if no server was running."""
    studio = read_studio(None if home is None else Path(home))
    if studio is None or not process.terminate(studio.pid, studio.birth):
        return False
    save_studio(replace(studio, pid=0, birth=""))
    deadline = time.monotonic() + 5
    while not _is_port_free(_port_of(studio.url)) and time.monotonic() < deadline:
        time.sleep(0.05)  # the system frees the port a moment later; the next start can then use the same port
    return True


def _make_home(home: Path) -> None:
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        (home / "files").mkdir(exist_ok=True)
        (home / "data").mkdir(exist_ok=True, mode=0o700)
    except OSError as error:
        raise StudioError(
            f"cannot make {error.filename}: {error.strerror}; name another folder with {HOME_VARIABLE}"
        ) from None


def _new_studio(home: Path) -> Studio:
    if any((home / "data").iterdir()):
        raise StudioError(
            f"{home / 'data'} holds the data of a server, but {home / STATE_FILE}, with its account, is missing: "
            f"restore that file from a copy, or move {home} away and start again"
        )
    return Studio(
        home=home,
        url="",
        user=USER,
        password=secrets.token_urlsafe(12),
        token=secrets.token_hex(20),
        document_root=home / "files",
    )


def save_studio(studio: Studio) -> None:
    """Replaces `studio.json` in one step. Other accounts can never read it."""
    values = asdict(studio)
    for name in ("home", "already_running"):
        del values[name]
    path = studio.home / STATE_FILE
    partial = path.with_name(f".{STATE_FILE}.{os.getpid()}")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(values, file, indent=2, default=str)
        os.replace(partial, path)
    except OSError as error:
        raise StudioError(f"cannot write {path}: {error.strerror}; fix this, then run the same command again") from None


@contextmanager
def starting_lock(home: Path, timeout: float) -> Iterator[None]:
    """Holds the start lock of ``home``. Waits up to ``timeout`` seconds for another process that holds it."""
    refusal = "another process has been starting this Label Studio for a long time: wait for it, or end it"
    deadline = time.monotonic() + timeout
    with ExitStack() as held:
        while True:  # many short waits, because Ctrl-C works only between two waits
            try:
                held.enter_context(exclusive_lock(home / LOCK_FILE, refusal, wait=0.25))
                break
            except InputError as error:
                if time.monotonic() >= deadline:
                    raise StudioError(str(error)) from None
        yield


def _choose_url(before: str, port: int | None) -> str:
    """Chooses the address: the given port, else the previous address if its port is free, else the first free port."""
    if port is not None:
        if not _is_port_free(port):
            raise StudioError(f"port {port} is taken: name another with --port, or leave the option out")
        return f"http://127.0.0.1:{port}"
    if before and _is_port_free(_port_of(before)):
        return before
    for candidate in range(FIRST_PORT, FIRST_PORT + PORTS_TRIED):
        if _is_port_free(candidate):
            return f"http://127.0.0.1:{candidate}"
    raise StudioError(f"no port from {FIRST_PORT} to {FIRST_PORT + PORTS_TRIED - 1} is free: name one with --port")


def _port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def _is_port_free(port: int) -> bool:
    """Whether the port on 127.0.0.1 is free and can be bound."""
    with socket.socket() as caller:
        caller.settimeout(1)
        if caller.connect_ex(("127.0.0.1", port)) == 0:
            return False
    with socket.socket() as listener:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
    return True


def _command(executable: Path, studio: Studio) -> list[str]:
    port = str(_port_of(studio.url))
    return [str(executable), "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", port]


_PASSED_ON = """
APPDATA COMSPEC HOME LANG LC_ALL LC_CTYPE LD_LIBRARY_PATH LOCALAPPDATA PATH PATHEXT SYSTEMROOT TEMP TMP TMPDIR TZ
USERPROFILE WINDIR
"""


def _environment(studio: Studio) -> dict[str, str]:
    """The server's environment. Label Studio reads variables such as CI and HOST, so only a few are passed on."""
    settings = {
        "BASE_DATA_DIR": str(studio.home / "data"),
        "LOCAL_FILES_SERVING_ENABLED": "true",
        "LOCAL_FILES_DOCUMENT_ROOT": str(studio.document_root),
        "USERNAME": studio.user,
        "PASSWORD": studio.password,
        "USER_TOKEN": studio.token,
        "ENABLE_LEGACY_API_TOKEN": "true",
        "DISABLE_SIGNUP_WITHOUT_LINK": "true",
        "ALLOWED_HOSTS": "127.0.0.1,localhost",
        "CORS_ALLOW_ALL_ORIGINS": "false",
        "LATEST_VERSION_CHECK": "false",
        "COLLECT_ANALYTICS": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        "AZURE_MOUNT_FIX": "true",  # turns on SQLite's write-ahead log: 73 ms per submitted label instead of 204 ms
    }
    passed = {name: os.environ[name] for name in _PASSED_ON.split() if name in os.environ}
    flags = {"PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1", "collect_analytics": "false"}
    return passed | flags | {f"LABEL_STUDIO_{name}": value for name, value in settings.items()}


def _wait(studio: Studio, ended: Callable[[], bool], timeout: float, progress: ProgressCallback) -> str:
    """Waits until the server responds and accepts the token; returns the server's version.

    Args:
        studio: the server to wait for.
        ended: returns whether the server's process has ended.
        timeout: seconds to wait.
        progress: called with (seconds waited, ``timeout``).
    """
    began = time.monotonic()
    while (waited := time.monotonic() - began) < timeout:
        progress(int(waited), int(timeout))
        if ended():
            raise StudioError(
                f"Label Studio ended while starting: {last_line(studio.log)} (its log: {studio.log}); "
                "read the log, then try again"
            )
        if _get_json(f"{studio.url}/health") is not None:
            return _require_account(studio)
        time.sleep(0.25)
    raise StudioError(
        f"Label Studio did not answer within {timeout:g} s: {last_line(studio.log)} (its log: {studio.log}); "
        "read the log, then try again"
    )


def _require_account(studio: Studio) -> str:
    """The server's version. Raises StudioError if the server does not know the account of `studio.json`."""
    account = _get_json(f"{studio.url}/api/current-user/whoami", studio.token)
    if account is None or account.get("email") != studio.user:
        raise StudioError(
            f"the server at {studio.url} does not know the account of {studio.home / STATE_FILE}: its token was "
            f"changed, or another server uses the port; stop the other server, or start this one with another --port "
            f"(log: {studio.log})"
        )
    return str((_get_json(f"{studio.url}/api/version/") or {}).get("release", ""))


def _get_json(url: str, token: str = "") -> dict[str, Any] | None:
    """The JSON object at ``url`` of the local server; None if the server sends no JSON object."""
    request = urllib.request.Request(url, headers={"Authorization": f"Token {token}"} if token else {})  # noqa: S310
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy for 127.0.0.1
    try:
        with opener.open(request, timeout=20) as answer:
            found = json.load(answer)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
