from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pelagia.errors import StudioError
from pelagia_labeling.studio.connection import Connection, connect, find_address
from pelagia_labeling.studio.server import Studio
from pelagia_labeling.tasks.project import list_projects
from studio_fixtures import free_port


@pytest.fixture
def config_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration folder of a user who has no server, no token and no variable set."""
    for name in ("LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PELAGIA_STUDIO_HOME", str(tmp_path / "no-studio"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "pelagia"


class _OtherServer(BaseHTTPRequestHandler):
    """Answers the version page as the test wants, and every other request with 404."""

    status, body = 404, b"<html>nothing here</html>"

    def do_GET(self) -> None:
        status, body = (self.status, self.body) if self.path == "/api/version/" else (404, b"")
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def other_server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _OtherServer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_no_server_is_one_line_with_the_remedy() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(StudioError) as caught:
        connect(url, "token")
    assert str(caught.value) == (
        f"no server answers at {url}: start one with `pelagia studio start`, or name another with --url or "
        "LABEL_STUDIO_URL"
    )


def test_a_server_that_never_answers_does_not_block_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pelagia_labeling.studio.connection.TIMEOUT", 0.3)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(StudioError, match="did not answer in time"):
            connect(f"http://127.0.0.1:{silent.getsockname()[1]}", "token")


def test_another_kind_of_server_is_recognized(other_server: str) -> None:
    with pytest.raises(StudioError, match=r"is not a Label Studio \(it answered 404 to /api/version/\)"):
        connect(other_server, "token")


@pytest.mark.parametrize("body", [b"[]", b'{"release": "9"}', b"ok"])
def test_a_server_that_answers_something_else_is_not_a_label_studio(
    other_server: str, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_OtherServer, "status", 200)
    monkeypatch.setattr(_OtherServer, "body", body)
    with pytest.raises(StudioError, match="is not a Label Studio"):
        connect(other_server, "token")


def test_an_old_label_studio_is_refused_by_its_version(other_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_OtherServer, "status", 200)
    about = {"release": "1.13.1", "label-studio-os-package": {}}
    monkeypatch.setattr(_OtherServer, "body", json.dumps(about).encode())
    with pytest.raises(StudioError, match=r"is version 1\.13\.1: update it, Pelagia needs 1\.20 or later"):
        connect(other_server, "token")


def test_without_any_server_the_message_says_how_to_start_one(config_folder: Path) -> None:
    with pytest.raises(StudioError, match="no Label Studio is known: start one with `pelagia studio start`"):
        find_address()


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://host", "http://", "8080"])
def test_text_that_is_not_an_address_is_refused(config_folder: Path, url: str) -> None:
    with pytest.raises(StudioError, match="is not an address such as"):
        find_address(url, "token")


@pytest.mark.parametrize("page", ["/projects/2/data", "/projects", "/user/login/", "/tasks/7"])
def test_the_address_of_a_page_is_refused_with_that_of_the_server(config_folder: Path, page: str) -> None:
    with pytest.raises(StudioError, match=r"is the address of a page: name the server alone, https://host/studio, "):
        find_address(f"https://host/studio{page}", "token")
    assert find_address("https://host/projects-of-ours", "token").url == "https://host/projects-of-ours"


def test_an_address_without_a_token_says_where_to_put_one(config_folder: Path) -> None:
    with pytest.raises(StudioError, match=f"into LABEL_STUDIO_API_KEY, or into {config_folder / 'token'}"):
        find_address("http://ls.example.org")


def test_a_token_file_must_be_private(config_folder: Path) -> None:
    config_folder.mkdir(parents=True)
    (config_folder / "token").write_text("sesame\n", encoding="utf-8")
    (config_folder / "token").chmod(0o640)
    with pytest.raises(StudioError, match=f"chmod 600 {config_folder / 'token'}"):
        find_address("http://ls.example.org")
    (config_folder / "token").chmod(0o600)
    assert find_address("http://ls.example.org").token == "sesame"


def test_no_token_shows_in_what_is_printed(config_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "sesame")
    address = find_address("http://ls.example.org/")
    assert (address.token, address.url) == ("sesame", "http://ls.example.org")
    assert "sesame" not in repr(address)


@pytest.mark.studio
def test_the_local_token_is_not_sent_to_another_server(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(studio.home / "none"))
    with pytest.raises(StudioError, match="no token for http://ls.example.org"):
        find_address("http://ls.example.org", home=studio.home)
    port = studio.url.rpartition(":")[2]
    assert find_address(f"http://localhost:{port}", home=studio.home).token == studio.token


@pytest.mark.studio
def test_a_wrong_token_is_one_line_that_names_where_it_came_from(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "not-the-token")
    with pytest.raises(StudioError) as caught:
        connect(home=studio.home)
    assert str(caught.value) == (
        f"the server at {studio.url} refuses the token from LABEL_STUDIO_API_KEY: copy the current one from its page "
        "Account & Settings into LABEL_STUDIO_API_KEY"
    )


@pytest.mark.studio
def test_requests_to_this_machine_do_not_use_the_proxy_of_the_environment(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    assert connect(home=studio.home).user == studio.user


@pytest.fixture(scope="session")
def personal_token(connection: Connection) -> str:
    """The personal access token of the account; an account can have only one."""
    return str(connection.client.tokens.create().token)


@pytest.mark.studio
def test_a_personal_access_token_works_for_everything(
    connection: Connection, studio: Studio, personal_token: str
) -> None:
    with_personal = connect(studio.url, personal_token, home=studio.home)
    assert with_personal.address.token_kind == "personal"
    assert with_personal.user == studio.user
    assert [found.id for found in list_projects(with_personal)] == [found.id for found in list_projects(connection)]


@pytest.mark.studio
def test_a_server_without_legacy_tokens_says_which_kind_it_wants(studio: Studio, personal_token: str) -> None:
    personal = connect(studio.url, personal_token, home=studio.home)
    personal.client.jwt_settings.update(
        api_tokens_enabled=True, legacy_api_tokens_enabled=False, api_token_ttl_days=365
    )
    try:
        with pytest.raises(StudioError, match="accepts no legacy tokens .* make a personal access token"):
            connect(home=studio.home)
    finally:
        personal.client.jwt_settings.update(
            api_tokens_enabled=True, legacy_api_tokens_enabled=True, api_token_ttl_days=365
        )


@pytest.mark.studio
def test_an_error_of_the_server_is_a_sentence(connection: Connection) -> None:
    with pytest.raises(StudioError, match="answered 404 while reading that: .*see `pelagia studio doctor`"):
        connection.get("/api/projects/999999/", what="reading that")
