"""A real server behind a proxy that fails at one request: each failure is one line, and the same command then works.

The proxy passes every request on to Label Studio, and spoils one answer, or one request before it arrives.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pelagia.errors import StudioError
from pelagia.taxonomy import Taxonomy
from pelagia_labeling.labels.pull import pull
from pelagia_labeling.studio import connection as connection_module
from pelagia_labeling.studio.connection import Connection, connect
from pelagia_labeling.studio.server import Studio
from pelagia_labeling.tasks.annotate import submit, submit_csv
from pelagia_labeling.tasks.project import Task, list_tasks, require_project
from pelagia_labeling.tasks.push import push

pytestmark = pytest.mark.studio


class Proxy(ThreadingHTTPServer):
    """Passes requests on, and spoils those that match.

    Attributes:
        path, method: requests whose path contains this text are spoilt.
        fault: what happens to them; see `_Handler`.
        after: number of matching requests that are passed on before.
    """

    daemon_threads = True

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = urlsplit(target).netloc
        self.path, self.method, self.fault, self.after = "nowhere", "GET", "", 0
        self.spoilt = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def spoil(self, fault: str, method: str, path: str, after: int = 0) -> None:
        self.fault, self.method, self.path, self.after, self.spoilt = fault, method, path, after, 0

    def heal(self) -> None:
        self.fault = ""


class _Handler(BaseHTTPRequestHandler):
    server: Proxy
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._handle()

    do_POST = do_PATCH = do_DELETE = do_PUT = do_GET  # noqa: N815

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        server, fault = self.server, ""
        if server.fault and self.command == server.method and server.path in self.path:
            server.after -= 1
            if server.after < 0:
                fault = server.fault
                server.spoilt += 1
        spoil = {
            "500": lambda: self._answer(500, b'{"detail": "database is locked"}'),
            "503 page": lambda: self._answer(503, b"<html><h1>Service Unavailable</h1></html>", "text/html"),
            "401": lambda: self._answer(401, b'{"detail": "Invalid token."}'),
            "403": lambda: self._answer(403, b'{"detail": "You do not have permission."}'),
            "hangs": self._hang,
            "closes": self._close,
        }.get(fault)
        if spoil is not None:
            spoil()
            return
        status, kind, data = self._pass_on(body)
        if fault == "half":  # done on the server, and half of the answer arrives
            self._answer(status, data[: len(data) // 2], kind)
        elif fault == "closes after":
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
            self._close()
        else:
            self._answer(status, data, kind)

    def _pass_on(self, body: bytes) -> tuple[int, str, bytes]:
        upstream = http.client.HTTPConnection(self.server.target, timeout=120)
        headers = {key: value for key, value in self.headers.items() if key.lower() not in ("host", "connection")}
        upstream.request(self.command, self.path, body, headers)
        answer = upstream.getresponse()
        data = answer.read()
        upstream.close()
        return answer.status, answer.getheader("Content-Type") or "", data

    def _answer(self, status: int, data: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _hang(self) -> None:
        time.sleep(3)
        self._close()

    def _close(self) -> None:
        self.close_connection = True
        self.connection.close()


@pytest.fixture(scope="module")
def proxy(studio: Studio) -> Iterator[Proxy]:
    with Proxy(studio.url) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def through(proxy: Proxy, studio: Studio, fault: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    """A connection through the proxy, from a machine that shares no folder; a server that hangs is given up soon."""
    proxy.heal()
    if fault == "hangs":
        monkeypatch.setattr(connection_module, "TIMEOUT", 2.0)
        monkeypatch.setattr(connection_module, "UPLOAD_TIMEOUT", 2.0)
        monkeypatch.setitem(connection_module.WRITE_OPTIONS, "timeout_in_seconds", 2)
    yield replace(connect(proxy.url, studio.token, home=studio.home), document_root=None)
    proxy.heal()


FAULTS = {
    "500": "answered 500 while .*database is locked",
    "503 page": "answered 503 while .*an HTML page",
    "401": "refuses the token from",
    "403": "may not do this .*ask the administrator",
    "hangs": "did not answer in time while .*run the same command again|broke while",
    "closes": "broke while",
    "closes after": "broke while",
    "half": "sent an answer that cannot be read while",
}
"""What the proxy does, and the message."""


every_fault = pytest.mark.parametrize("fault", FAULTS)
faults_of_each_kind = pytest.mark.parametrize("fault", ["500", "403", "closes after", "half"])
"""A refusal for a while and for good, and two answers that are lost after the server has done what was asked."""


def fails(proxy: Proxy, fault: str, method: str, path: str, after: int, call: Callable[[], object]) -> None:
    """``call`` ends with one line while the proxy spoils these requests."""
    proxy.spoil(fault, method, path, after)
    with pytest.raises(StudioError, match=FAULTS[fault]) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert proxy.spoilt >= 1
    proxy.heal()


@every_fault
def test_a_push_is_completed_by_the_same_command(
    proxy: Proxy,
    through: Connection,
    connection: Connection,
    fault: str,
    project: str,
    taxonomy: Taxonomy,
    make_images: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pelagia_labeling.tasks.push.CHUNK", 4)
    crops, shared = make_images(10), replace(through, document_root=connection.document_root)
    fails(proxy, fault, "POST", "/import", 1, lambda: push(shared, crops, project, taxonomy))
    made = require_project(connection, project).tasks
    assert made in (4, 8, 10)
    report = push(connection, crops, project, taxonomy)
    assert (report.added, report.present) == (10 - made, made)
    assert require_project(connection, project).tasks == 10


@faults_of_each_kind
def test_an_upload_is_completed_by_the_same_command(
    proxy: Proxy,
    through: Connection,
    connection: Connection,
    fault: str,
    project: str,
    taxonomy: Taxonomy,
    make_images: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pelagia_labeling.tasks.upload.FILES_A_REQUEST", 2)
    crops = make_images(6)
    fails(proxy, fault, "POST", "commit_to_project", 2, lambda: push(through, crops, project, taxonomy, upload=True))
    report = push(connection, crops, project, taxonomy, upload=True)
    assert (report.added, report.present) == (6, 0)
    assert require_project(connection, project).tasks == 6


@pytest.fixture(scope="module")
def labeled(
    connection: Connection,
    taxonomy: Taxonomy,
    draw_images: Callable[..., None],
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    """The title of a project with six labeled images."""
    crops = tmp_path_factory.mktemp("labeled")
    draw_images([f"{number}.png" for number in range(6)], crops, 4242)
    push(connection, crops, "Pulled through a proxy", taxonomy)
    for task in list_tasks(connection, require_project(connection, "Pulled through a proxy")):
        submit(connection, task.id, "copepod" if task.id % 2 else "medusa")
    return "Pulled through a proxy"


@pytest.mark.parametrize(
    ("path", "fault"),
    [("/api/tasks/", fault) for fault in FAULTS]
    + [("/data/local-files/", fault) for fault in ("503 page", "hangs", "closes after")],
)
def test_a_pull_leaves_nothing_half_and_works_the_next_time(
    proxy: Proxy, through: Connection, fault: str, path: str, labeled: str, tmp_path: Path
) -> None:
    out = tmp_path / "dataset"
    fails(proxy, fault, "GET", path, 2 * (path != "/api/tasks/"), lambda: pull(through, labeled, out))
    assert list(tmp_path.iterdir()) == []
    assert len(pull(through, labeled, out).dataset.records) == 6


@faults_of_each_kind
def test_submitted_labels_are_completed_and_none_is_made_twice(
    proxy: Proxy,
    through: Connection,
    connection: Connection,
    fault: str,
    project: str,
    taxonomy: Taxonomy,
    make_images: Callable[..., Path],
    tasks_of: Callable[[str], dict[str, Task]],
    tmp_path: Path,
) -> None:
    crops = make_images(8)
    push(connection, crops, project, taxonomy)
    labels = tmp_path / "labels.csv"
    rows = "".join(f"{index:04d}.png,copepod\n" for index in range(8))
    labels.write_text(f"path,class\n{rows}", encoding="utf-8")
    fails(proxy, fault, "POST", "/annotations/", 2, lambda: submit_csv(through, project, labels))
    time.sleep(0.5 * (fault == "closes after"))  # the server completes what it received
    report = submit_csv(connection, project, labels)
    assert report.submitted + report.present == 8
    assert [len(task.annotations) for task in tasks_of(project).values()] == [1] * 8
