"""What went wrong at a Label Studio server, in words that say what to do.

Invariant: no exception of label-studio-sdk or httpx leaves `errors_translated`. No message holds a token.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

from pelagia.errors import MissingExtra, StudioError

if TYPE_CHECKING:
    import httpx

URL_VARIABLE = "LABEL_STUDIO_URL"
TOKEN_VARIABLE = "LABEL_STUDIO_API_KEY"  # noqa: S105 - a name, not a token


class Server(Protocol):
    """What messages say of a server: its address, and where the token for it came from."""

    @property
    def url(self) -> str: ...

    @property
    def token_source(self) -> str: ...


def require_success(answer: httpx.Response) -> httpx.Response:
    """The same answer. Raises the SDK's ApiError if its status means a failure."""
    from label_studio_sdk.core.api_error import ApiError

    if not answer.is_success:
        raise ApiError(status_code=answer.status_code, body=answer.text)
    return answer


@contextmanager
def errors_translated(address: Server, what: str) -> Iterator[None]:
    """Turns every error of the SDK and of httpx that is raised inside the ``with`` block into a StudioError.

    Args:
        address: the server's address, for the message.
        what: what the calls do, such as "listing the projects".
    """
    import httpx
    from pydantic import ValidationError

    try:
        from label_studio_sdk.core.api_error import ApiError
    except ImportError:
        raise MissingExtra("Label Studio", "labeling", "label-studio-sdk") from None
    try:
        yield
    except ApiError as error:
        message = _explain_status(error.status_code, error.body, address, what)
        raise StudioError(message, status=error.status_code) from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise StudioError(_explain_http(error, address, what)) from None
    except (ValidationError, json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        problem = str(error).splitlines()[0]
        raise StudioError(
            f"the server at {address.url} sent an answer that cannot be read while {what}: {problem}; see "
            "`pelagia studio doctor`"
        ) from None


def _explain_http(error: Exception, address: Server, what: str) -> str:
    import httpx

    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return (
            f"no server answers at {address.url}: start one with `pelagia studio start`, or name another with --url or "
            f"{URL_VARIABLE}"
        )
    if isinstance(error, httpx.TimeoutException):
        return f"the server at {address.url} did not answer in time while {what}: run the same command again"
    problem = str(error) or type(error).__name__
    return (
        f"the connection to {address.url} broke while {what} ({problem}): start the server again if it has stopped, "
        "and run the same command again"
    )


def _explain_status(status: int | None, body: Any, address: Server, what: str) -> str:
    detail = _detail(body)
    if status == 401 and "legacy" in detail.lower():  # the server has no code for this case
        return (
            f"the server at {address.url} accepts no legacy tokens (this one is from {address.token_source}): make a "
            f"personal access token on its page Account & Settings and put it into {TOKEN_VARIABLE}"
        )
    if status == 401:
        return (
            f"the server at {address.url} refuses the token from {address.token_source}: copy the current one from its "
            f"page Account & Settings into {TOKEN_VARIABLE}"
        )
    if status == 403:
        return f"the account of the token from {address.token_source} may not do this ({what}): ask the administrator"
    if status is not None and 200 <= status < 300:  # the SDK could not read the answer
        return (
            f"the server at {address.url} sent an answer that cannot be read while {what}; run the same command again, "
            "or see `pelagia studio doctor`"
        )
    reason = detail or "no reason given"
    return f"the server at {address.url} answered {status} while {what}: {reason}; see `pelagia studio doctor`"


def _detail(body: Any) -> str:
    """The reason that the body of an error response gives, on one line."""
    if isinstance(body, str) and body.lstrip().startswith("{"):
        with suppress(ValueError):
            body = json.loads(body)
    if isinstance(body, dict):
        body = body.get("validation_errors") or body.get("detail") or body
    text = body if isinstance(body, str) else json.dumps(body, default=str, ensure_ascii=False)
    if "<html" in text.lower() or "<!doctype" in text.lower():
        return "an HTML page"
    text = " ".join(text.split())
    return text if len(text) <= 300 else f"{text[:297]}..."
