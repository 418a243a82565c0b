"""A local Label Studio in the background, usable at once: account, token, document root, all in one folder.

Invariant: everything that the server is and knows lies in its home. ``studio.json`` (mode 0600) holds the address, the
account and the token; ``data/`` the database; ``files/`` the images (the document root). Stopping and starting keeps
all of it. The server listens on 127.0.0.1 alone, takes no sign-ups, and calls nobody. The password and the token reach
it through its environment, never through a command line that `ps` would show.

Standard library only: `pelagia studio start` works before label-studio-sdk is installed.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pelagia.errors import StudioError
from pelagia.system.paths import folder_from_environment, user_folder
from pelagia_labeling.studio import process

HOME_VARIABLE = "PELAGIA_STUDIO_HOME"
EXECUTABLE_VARIABLE = "PELAGIA_LABEL_STUDIO"
SUPPORTED = "1.23.2"
USER = "pelagia@localhost"
STATE_FILE = "studio.json"
LOG_FILE = "label-studio.log"
FIRST_PORT = 8080
PORTS_TRIED = 200

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Studio:
    """A local Label Studio. Its secrets do not show in its ``repr``.

    Attributes:
        pid: 0 where it does not run.
        birth: tells this process from a later one of the same pid.
        already_running: `start_studio` found it running.
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

    @property
    def running(self) -> bool:
        return process.is_alive(self.pid, self.birth)

    @property
    def log(self) -> Path:
        return self.home / LOG_FILE


def default_home() -> Path:
    """``$PELAGIA_STUDIO_HOME``, or the folder where this system keeps a user's application data."""
    return folder_from_environment(HOME_VARIABLE) or user_folder("data") / "studio"


def read_studio(home: Path | None = None) -> Studio | None:
    """What is known of the server of ``home``, running or not; None where none was ever started there.

    Raises:
        StudioError: `studio.json` is damaged, or others may read it.
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
        raise StudioError(f"cannot read {path}: {error.strerror}") from None
    require_private(path)
    try:
        known = json.loads(text)
        return Studio(home=home, document_root=Path(known.pop("document_root")), **known)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise StudioError(f"{path} is damaged: restore it from a copy, or move {home} away to start anew") from None


def require_private(path: Path) -> None:
    """Refuses a file of secrets that other accounts may read."""
    if os.name == "posix" and path.stat().st_mode & 0o077:
        raise StudioError(f"{path} holds a secret and other accounts may read it: chmod 600 {path}")


def start_studio(
    home: Path | None = None,
    *,
    port: int | None = None,
    timeout: float = 180,
    progress: Progress = lambda done, total: None,
) -> Studio:
    """Starts the server of ``home`` and returns when it answers; returns the running one where there is one.

    Args:
        port: where it listens; by default its port of last time, or the first free one from 8080.
        timeout: seconds to wait for it.
        progress: called with (seconds waited, ``timeout``).

    Raises:
        StudioError: no executable, the port is taken, it died or did not answer in time (with the log's last line).
    """
    home = (home or default_home()).absolute()
    known = read_studio(home)
    if known is not None and known.running:  # or another start is still waiting for it
        found = known
        version = _wait(found, lambda: not found.running, timeout, progress)
        return replace(found, version=version, already_running=True)
    executable = find_executable()
    _make_home(home)
    with _only_starter(home):
        known = read_studio(home)  # once more: now nobody else can start
        studio = replace(known or _new_studio(home), url=_address(known, port))
        child = process.spawn(_command(executable, studio), env=_environment(studio), cwd=home, log=studio.log)
        studio = replace(studio, pid=child.pid, birth=process.birth(child.pid))
        _save(studio)
        try:
            version = _wait(studio, lambda: child.poll() is not None, timeout, progress)
        except BaseException:
            process.terminate(studio.pid, studio.birth, patience=2)
            _save(replace(studio, pid=0, birth=""))
            raise
        studio = replace(studio, version=version)
        _save(studio)
    return studio


def stop_studio(home: Path | None = None) -> bool:
    """Stops the server of ``home``. False where none ran. Its data stay."""
    studio = read_studio(home)
    if studio is None or not process.terminate(studio.pid, studio.birth):
        return False
    _save(replace(studio, pid=0, birth=""))
    deadline = time.monotonic() + 5
    while not _is_free(int(studio.url.rpartition(":")[2])) and time.monotonic() < deadline:
        time.sleep(0.05)  # its threads outlive it by a moment, and hold the port that the next start wants back
    return True


def find_executable() -> Path:
    """The ``label-studio`` program.

    Looked for in this order: ``$PELAGIA_LABEL_STUDIO``, beside this Python, ``.venv-studio`` in the working folder and
    those above it, ``PATH``.

    Raises:
        StudioError: it is nowhere.
    """
    if named := os.environ.get(EXECUTABLE_VARIABLE):
        if found := shutil.which(named):
            return Path(found).absolute()
        raise StudioError(f"{EXECUTABLE_VARIABLE} names {named}, and there is no program of that name")
    folders = [Path(sys.executable).parent]
    for parent in (Path.cwd(), *Path.cwd().parents):
        folders += [parent / ".venv-studio" / "bin", parent / ".venv-studio" / "Scripts"]
    for folder in folders:
        if found := shutil.which("label-studio", path=str(folder)):
            return Path(found)
    if found := shutil.which("label-studio"):
        return Path(found).absolute()
    raise StudioError(
        f"Label Studio is not installed: run `make setup`, or `uv tool install label-studio=={SUPPORTED}`, or "
        f"`python -m venv .venv-studio && .venv-studio/bin/pip install label-studio=={SUPPORTED}`"
    )


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
            f"{home / 'data'} holds a server's data, and {home / STATE_FILE}, its account, is gone: restore that file "
            f"from a copy, or move {home} away to start anew"
        )
    return Studio(
        home=home,
        url="",
        user=USER,
        password=secrets.token_urlsafe(12),
        token=secrets.token_hex(20),
        document_root=home / "files",
    )


def _save(studio: Studio) -> None:
    """Writes `studio.json` whole or not at all, readable by its owner alone from its first byte."""
    known = asdict(studio)
    for derived in ("home", "already_running"):
        del known[derived]
    path = studio.home / STATE_FILE
    partial = path.with_name(f".{STATE_FILE}.{os.getpid()}")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(known, file, indent=2, default=str)
        os.replace(partial, path)
    except OSError as error:
        raise StudioError(f"cannot write {path}: {error.strerror}") from None


@contextmanager
def _only_starter(home: Path) -> Iterator[None]:
    """Holds the right to start the server of ``home``; one left by a process that died is taken over."""
    lock = home / "starting"
    for _ in range(2):
        try:
            handle = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            break
        except FileExistsError:
            pid, _, born = lock.read_text(encoding="utf-8").partition(" ")
            if pid.isdigit() and process.is_alive(int(pid), born):
                raise StudioError(f"process {pid} is starting this Label Studio already: wait for it") from None
            lock.unlink(missing_ok=True)
    else:
        raise StudioError(f"another process is starting this Label Studio: wait for it, or remove {lock}")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(f"{os.getpid()} {process.birth(os.getpid())}")
        yield
    finally:
        lock.unlink(missing_ok=True)


def _address(known: Studio | None, port: int | None) -> str:
    if port is not None:
        if not _is_free(port):
            raise StudioError(f"port {port} is taken: name another with --port, or leave the option out")
        return f"http://127.0.0.1:{port}"
    if known is not None and known.url and _is_free(int(known.url.rpartition(":")[2])):
        return known.url
    for candidate in range(FIRST_PORT, FIRST_PORT + PORTS_TRIED):
        if _is_free(candidate):
            return f"http://127.0.0.1:{candidate}"
    raise StudioError(f"no port from {FIRST_PORT} to {FIRST_PORT + PORTS_TRIED - 1} is free: name one with --port")


def _is_free(port: int) -> bool:
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
    port = studio.url.rpartition(":")[2]
    return [str(executable), "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", port]


_KEPT = """
APPDATA COMSPEC HOME LANG LC_ALL LC_CTYPE LD_LIBRARY_PATH LOCALAPPDATA PATH PATHEXT SYSTEMROOT TEMP TMP TMPDIR TZ
USERPROFILE WINDIR
"""


def _environment(studio: Studio) -> dict[str, str]:
    """The server's whole environment. It reads names as common as CI, DEBUG, HOST and PORT, so little is passed on."""
    ours = {
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
        "AZURE_MOUNT_FIX": "true",  # SQLite's write-ahead log: 73 ms a submitted label, against 204 ms without
    }
    passed = {name: os.environ[name] for name in _KEPT.split() if name in os.environ}
    flags = {"PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1", "collect_analytics": "false"}
    return passed | flags | {f"LABEL_STUDIO_{name}": value for name, value in ours.items()}


def _wait(studio: Studio, ended: Callable[[], bool], timeout: float, progress: Progress) -> str:
    """The server's version, when it answers and knows our token."""
    began = time.monotonic()
    while (waited := time.monotonic() - began) < timeout:
        progress(int(waited), int(timeout))
        if ended():
            raise StudioError(f"Label Studio ended while starting: {last_line(studio.log)} (its log: {studio.log})")
        if _get(f"{studio.url}/health") is not None:
            return _require_ours(studio)
        time.sleep(0.25)
    raise StudioError(
        f"Label Studio did not answer within {timeout:g} s: {last_line(studio.log)} (its log: {studio.log}); "
        "look there, then try again"
    )


def _require_ours(studio: Studio) -> str:
    who = _get(f"{studio.url}/api/current-user/whoami", studio.token)
    if who is None or who.get("email") != studio.user:
        raise StudioError(
            f"the server at {studio.url} does not know the account of {studio.home / STATE_FILE}: its token was "
            f"changed, or another server took the port; see {studio.log}"
        )
    return str((_get(f"{studio.url}/api/version/") or {}).get("release", ""))


def _get(url: str, token: str = "") -> dict[str, Any] | None:
    """The JSON object at ``url`` of our own server, or None."""
    request = urllib.request.Request(url, headers={"Authorization": f"Token {token}"} if token else {})  # noqa: S310
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy has no business with 127.0.0.1
    try:
        with opener.open(request, timeout=20) as answer:
            found = json.load(answer)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def last_line(log: Path) -> str:
    """The last line of a log that says something: the last error where there is one."""
    try:
        lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    except OSError:
        return "it wrote no log"
    lines = [line for line in lines if line and not line.startswith(("^", "~", "="))]
    errors = [line for line in lines if "Error" in line or "error:" in line.lower()]
    return (errors or lines or ["its log is empty"])[-1][:300]
