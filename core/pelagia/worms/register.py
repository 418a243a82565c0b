"""Questions to the REST service of WoRMS (https://www.marinespecies.org/rest/), with their answers kept on the disk.

Invariant: an answer that was kept is not asked for again for `KEPT_DAYS` days, and is used for any time if WoRMS cannot
be reached. One name or AphiaID is asked at a time, so each answer belongs to its question.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pelagia.errors import PelagiaError
from pelagia.system.files import write_text
from pelagia.system.paths import folder_from_environment, user_folder

ADDRESS = "https://www.marinespecies.org/rest/"
KEPT_DAYS = 90
HOME_VARIABLE = "PELAGIA_CACHE_HOME"
CACHE_FILE = "worms.json"

_NO_CONTENT = 204
_SECONDS = 30.0

Ask = Callable[[str], Any]
"""The JSON that the service answers to the part of an address after `ADDRESS`; None if it has no such record."""


class NotAnswered(PelagiaError):  # noqa: N818 - it is not the user's fault
    """WoRMS did not answer a question as documented."""


class NotReached(NotAnswered):
    """WoRMS cannot be reached, so no other question would be answered either."""


@dataclass(frozen=True)
class Record:
    """A taxon of WoRMS.

    Attributes:
        aphia_id: its AphiaID.
        name: its scientific name, without the author.
        rank: its rank, in lower case.
        status: ``accepted``, ``unaccepted``, and so on.
        accepted_id, accepted_name: the taxon that WoRMS accepts instead; those of the record if it is accepted; None
            and empty if WoRMS names none.
        exact: whether the name is exactly the one that was asked for.
        above: the names of its kingdom, phylum, class, order, family and genus.
        authority: the author and year.
    """

    aphia_id: int
    name: str
    rank: str
    status: str
    accepted_id: int | None
    accepted_name: str
    exact: bool
    above: frozenset[str]
    authority: str = ""


class Register:
    """WoRMS, as `taxonomy check` asks it.

    Attributes:
        asked: number of questions that were sent.
        oldest: the day of the oldest kept answer that was used, ``2024-05-31``; empty if none was used.
    """

    def __init__(self, cache: Path | None = None, ask: Ask | None = None) -> None:
        self._file = cache or (folder_from_environment(HOME_VARIABLE) or user_folder("cache")) / CACHE_FILE
        self._ask = ask or ask_worms
        self._kept: dict[str, dict[str, Any]] = _read(self._file)
        self._down: NotReached | None = None
        self.asked = 0
        self.oldest = ""

    def by_id(self, aphia_id: int) -> Record | None:
        """The taxon with an AphiaID; None if there is none. Raises NotAnswered."""
        answer = self._answer(f"AphiaRecordByAphiaID/{aphia_id}")
        return None if answer is None else _record(answer)

    def by_name(self, name: str) -> list[Record]:
        """The taxa with a name, or with similar names if none has it (TAXAMATCH). Raises NotAnswered."""
        answer = self._answer(
            f"AphiaRecordsByMatchNames?scientificnames%5B%5D={quote(name, safe='')}&marine_only=false"
        )
        return [_record(one) for group in answer or [] for one in group or []]

    def keep(self) -> None:
        """Writes the answers to the disk. Raises OSError."""
        if self.asked:
            write_text(self._file, json.dumps(self._kept, ensure_ascii=False, indent=1, sort_keys=True) + "\n")

    def _answer(self, question: str) -> Any:
        kept = self._kept.get(question)
        if kept and _age(kept) <= timedelta(days=KEPT_DAYS):
            return self._use(kept)
        try:
            answer = self._ask_unless_down(question)
        except NotAnswered:
            if kept:
                return self._use(kept)
            raise
        self.asked += 1
        self._kept[question] = {"asked_at": datetime.now(UTC).isoformat(timespec="seconds"), "answer": answer}
        return answer

    def _ask_unless_down(self, question: str) -> Any:
        """The answer of WoRMS; after it could not be reached once, it is not tried again."""
        if self._down is not None:
            raise self._down
        try:
            return self._ask(question)
        except NotReached as error:
            self._down = error
            raise

    def _use(self, kept: Mapping[str, Any]) -> Any:
        day = str(kept["asked_at"])[:10]
        self.oldest = min(self.oldest or day, day)
        return kept["answer"]


def ask_worms(question: str) -> Any:
    """Asks WoRMS. Raises NotReached, or NotAnswered if it answers with an error."""
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    # the address begins with https, so S310 does not apply
    request = Request(f"{ADDRESS}{question}", headers={"Accept": "application/json", "User-Agent": "pelagia"})  # noqa: S310
    try:
        with urlopen(request, timeout=_SECONDS) as response:  # noqa: S310
            return None if response.status == _NO_CONTENT else json.load(response)
    except HTTPError as error:
        raise NotAnswered(f"WoRMS answered with the error {error.code}") from None
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise NotReached(f"WoRMS cannot be reached ({getattr(reason, 'strerror', None) or reason})") from None
    except ValueError:
        raise NotReached("WoRMS cannot be reached (its address answers with a page, such as that of a login)") from None


def _record(answer: Any) -> Record:
    try:
        above = {answer.get(rank) for rank in ("kingdom", "phylum", "class", "order", "family", "genus")}
        accepted = answer.get("valid_AphiaID")
        return Record(
            int(answer["AphiaID"]),
            str(answer["scientificname"]),
            str(answer.get("rank") or "").lower(),
            str(answer.get("status") or ""),
            None if accepted is None else int(accepted),
            str(answer.get("valid_name") or ""),
            answer.get("match_type", "exact") == "exact",
            frozenset(str(name) for name in above if name),
            str(answer.get("authority") or ""),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        raise NotAnswered("WoRMS does not answer as documented: try again later, or update Pelagia") from None


def _age(kept: Mapping[str, Any]) -> timedelta:
    return datetime.now(UTC) - datetime.fromisoformat(str(kept["asked_at"]))


def _read(file: Path) -> dict[str, dict[str, Any]]:
    """The answers on the disk; none if the file is damaged: it is only a cache."""
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        for one in kept.values():
            _age(one)
            one["answer"]
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
    return dict(kept)
