"""No other page and no other name reaches the desk."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from pelagia_desk.guard import Guard

HOST = "127.0.0.1:8499"
HOME = f"http://{HOST}"


async def page(request: Request) -> Response:
    return PlainTextResponse("private")


def browser(guard: Guard, url: str = HOME) -> TestClient:
    return TestClient(guard, base_url=url, follow_redirects=False)


@pytest.fixture
def guard() -> Guard:
    return Guard(Starlette(routes=[Route("/", page), Route("/undo", page, methods=["POST"])]), 8499)


@pytest.fixture
def own(guard: Guard) -> TestClient:
    """The browser that was opened with the address of the command."""
    client = browser(guard)
    answer = client.get(f"/enter/{guard.token}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "httponly" in answer.headers["set-cookie"].lower()
    assert "samesite=strict" in answer.headers["set-cookie"].lower()
    return client


def test_the_address_of_the_command_opens_the_page_and_allows_changes(own: TestClient) -> None:
    assert own.get("/").text == "private"
    assert own.post("/undo", json={}, headers={"Origin": HOME, "Sec-Fetch-Site": "same-origin"}).text == "private"


def test_nothing_is_shown_without_the_token(guard: Guard) -> None:
    for path in ("/", "/undo", "/static/desk.css", "/enter/", "/enter/wrong"):
        assert browser(guard).get(path).status_code == 403
    stranger = browser(guard)
    stranger.cookies.set("pelagia_desk_8499", "wrong")
    assert stranger.get("/").status_code == 403


@pytest.mark.parametrize("host", ["evil.example:8499", "127.0.0.1", "127.0.0.1:80", "127.0.0.1:8499.evil.example", ""])
def test_another_host_name_reaches_nothing_even_with_token_and_cookie(guard: Guard, own: TestClient, host: str) -> None:
    assert own.get("/", headers={"Host": host}).status_code == 421
    assert own.get(f"/enter/{guard.token}", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:8080"},
        {"Origin": "http://localhost:8499"},
        {"Origin": HOME, "Sec-Fetch-Site": "same-site"},
        {"Origin": HOME, "Sec-Fetch-Site": "cross-site"},
    ],
)
def test_a_change_from_another_page_is_refused_even_with_the_cookie(own: TestClient, headers: dict[str, str]) -> None:
    assert own.post("/undo", json={}, headers=headers).status_code == 403


def test_a_form_of_another_page_cannot_pose_as_json(own: TestClient) -> None:
    answer = own.post("/undo", content="{}", headers={"Origin": HOME, "Content-Type": "text/plain"})
    assert answer.status_code == 415


def test_every_answer_forbids_frames_foreign_scripts_and_referrers(guard: Guard, own: TestClient) -> None:
    for answer in (own.get("/"), browser(guard).get("/"), own.get(f"/enter/{guard.token}")):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe-inline" not in policy
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
