"""Grow a class: its nearest neighbors page by page, and a binary search for where the matching ones end.

The search is the bisection of MorphoCluster (Schröder, Kiko and Koch, Sensors 20(11), 2020). The crops are in order of
their distance to the class. The person looks at a few pages and says of each whether all match; everything before the
last page that matches is taken to match.

Invariant: a crop that was not displayed is accepted only if the person has looked at a random page of such crops,
and then confirmed their number. Its annotation says "bisection", and what the random page showed. Everything else
follows the rule of `pelagia_desk.sheets.work`.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pelagia_desk.sheets import similar
from pelagia_desk.sheets.crops import Crop
from pelagia_desk.sheets.work import MOST_CROPS, Refusal, Work, label_of
from pelagia_labeling.labels.votes import UNSEEN

SEARCH, CHECK, CONFIRM, DONE = "search", "check", "confirm", "done"


@dataclass
class Growth:
    """One search.

    Attributes:
        pages: the crops in order of distance, cut into pages.
        last_yes: the last page of which the person said that all match; -1 before the first.
        first_no: the first page of which the person said that not all match; the number of pages until then.
        page: the page that the browser shows, or the next one; -1 for the random page.
        phase: "search", "check" (a random page of crops that were not shown), "confirm" or "done".
        displayed: tasks that were displayed on pages that match.
        looked: pages that were answered.
        odd: tasks that the person marked.
        sample: the random page.
        wrong: how many of the random page the person marked.
    """

    id: str
    tab: str
    class_name: str
    pages: list[list[Crop]]
    last_yes: int = -1
    first_no: int = 0
    page: int = 0
    phase: str = SEARCH
    displayed: set[int] = field(default_factory=set)
    looked: set[int] = field(default_factory=set)
    odd: set[int] = field(default_factory=set)
    sample: list[Crop] = field(default_factory=list)
    wrong: int = 0
    sent_at: float = 0.0
    step: int = 0

    def crops(self) -> list[Crop]:
        """The crops of the page that is to be shown now."""
        return self.sample if self.phase == CHECK else self.pages[self.page] if self.phase == SEARCH else []

    def crops_marked(self) -> list[Crop]:
        """The crops that the person marked."""
        return [crop for page in self.pages for crop in page if crop.task in self.odd]

    def seen(self) -> list[Crop]:
        """The crops that were displayed and match."""
        return [crop for page in self.pages for crop in page if crop.task in self.displayed - self.odd]

    def unseen(self) -> list[Crop]:
        """The crops before the last page that matches, of pages that were not shown."""
        before = [number for number in range(self.last_yes + 1) if number not in self.looked]
        hidden = [crop for number in before for crop in self.pages[number]]
        return [crop for crop in hidden if crop.to_do and crop.task not in self.displayed | self.odd]


def following(last_yes: int, first_no: int, pages: int) -> int | None:
    """The next page to show, None at the end: 0, 1, 3, 7, ... while all match, then the middle of what is open."""
    if first_no - last_yes <= 1:
        return None
    if first_no == pages:
        return min(2 * last_yes + 1, pages - 1) if last_yes >= 0 else 0
    return (last_yes + first_no) // 2


def upper_limit(wrong: int, of: int, z: float = 1.645) -> float:
    """The share of wrong crops that is exceeded with 5%, from a random sample (Wilson's interval, one side)."""
    if not of:
        return 1.0
    share = wrong / of
    middle = share + z * z / (2 * of)
    spread = z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return min(1.0, (middle + spread) / (1 + z * z / of))


class Grower:
    """The searches of one desk."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._growths: dict[str, Growth] = {}

    def start(
        self, tab: str, class_name: str, seed: int | None, only_suggested: bool, station: str, count: int
    ) -> dict[str, Any]:
        """Starts a search from one crop, or from the crops that have the class already.

        Raises:
            Refusal: there is no such class, no crop to start from, or no crop to do.
        """
        work = self._work
        if class_name not in work.names:
            raise Refusal("Choose a class first.")
        if not work.vectors.from_model:
            work.vectors.measure(work.crops)
        with work.lock:
            seeds = self._seeds(class_name, seed)
            candidates = [
                crop
                for crop in work.crops
                if crop.to_do
                and class_name not in crop.rejected
                and work.vectors.known[crop.row]
                and (not only_suggested or crop.suggestion == class_name)
                and (not station or crop.station == station)
            ]
            if not candidates:
                raise Refusal("No crop is left to compare. Untick 'only those suggested' to look among all.")
            matrix = work.vectors.matrix
            rows = np.array([crop.row for crop in candidates], np.intp)
            order = similar.nearest(matrix, rows, matrix[[crop.row for crop in seeds]])
            count = min(max(count, 1), MOST_CROPS)
            ordered = [work.crops[row] for row in order]
            pages = [ordered[start : start + count] for start in range(0, len(ordered), count)]
            growth = Growth(secrets.token_hex(8), tab, class_name, pages, first_no=len(pages))
            self._growths = {growth.id: growth, **dict(list(self._growths.items())[:20])}
        return self._state(growth)

    def _seeds(self, class_name: str, seed: int | None) -> list[Crop]:
        work = self._work
        if seed is not None:
            crop = work.by_task.get(seed)
            if crop is None or not work.vectors.known[crop.row]:
                raise Refusal("This crop has no embedding to compare with.")
            return [crop]
        seeds = [crop for crop in work.crops if crop.label == ("named", class_name) and work.vectors.known[crop.row]]
        if not seeds:
            raise Refusal(
                f"No crop is labeled {work.title_of(class_name)} yet: accept a sheet of it first, or choose one crop."
            )
        return seeds

    def answer(
        self, number: str, page: int, displayed: Sequence[int], odd: Sequence[int], match: bool, seconds: float
    ) -> dict[str, Any]:
        """Takes what the person said of the page that is shown, and returns what comes next.

        Args:
            number: the search.
            page: the page that the person looked at; -1 for the random page.
            displayed: tasks that the browser displayed.
            odd: tasks that the person marked as not matching.
            match: whether all the others match.
            seconds: how long the page was shown.

        Raises:
            Refusal: another page was expected, the page was not shown whole, or it was answered too quickly.
        """
        with self._work.lock:
            growth = self._growth(number)
            if page != growth.page or growth.phase not in (SEARCH, CHECK):
                raise Refusal("This page was answered already: reload.")
            crops = growth.crops()
            self._work.require_sent(crops, [*displayed, *odd])
            if crops:  # a page of which no image can be shown is passed at once
                self._work.require_look(growth.tab, growth.sent_at, seconds)
            hidden = len({crop.task for crop in crops} - {*displayed, *odd})
            if hidden and (match or growth.phase == CHECK):
                raise Refusal(f"{hidden} crops of this page were not shown yet: scroll down, then answer.")
            self._work.confirmed(growth.tab)
            self._take(growth, set(displayed), set(odd), match)
            return self._state(growth)

    def _take(self, growth: Growth, displayed: set[int], odd: set[int], match: bool) -> None:
        """Writes an answer into the search, and goes on to what is shown next."""
        if growth.phase == CHECK or match:
            growth.displayed |= displayed
            growth.odd |= odd
        if growth.phase == CHECK:
            growth.wrong = len(odd)
            growth.phase = CONFIRM
            return
        growth.looked.add(growth.page)
        if match:
            growth.last_yes = growth.page
        else:
            growth.first_no = growth.page
        self._advance(growth)

    def _advance(self, growth: Growth) -> None:
        page = following(growth.last_yes, growth.first_no, len(growth.pages))
        if page is not None:
            growth.page = page
            return
        hidden = growth.unseen()
        growth.page, growth.phase = -1, CHECK if hidden else CONFIRM
        if hidden:
            rng = np.random.default_rng(int(growth.id, 16))
            chosen = rng.permutation(len(hidden))[: len(growth.pages[0])]
            growth.sample = [hidden[row] for row in sorted(chosen)]

    def accept(self, number: str, unseen: bool, unseen_count: int) -> dict[str, Any]:
        """Accepts the crops that were displayed, and with ``unseen`` those that the search takes to match as well.

        Args:
            number: the search.
            unseen: whether the person confirmed that crops which were not shown are accepted.
            unseen_count: their number, as the page showed it.

        Raises:
            Refusal: the search is not at its end, or the number is another.
        """
        work = self._work
        with work.lock:
            growth = self._growth(number)
            if growth.phase != CONFIRM:
                raise Refusal("The search is not at its end. Nothing was written.")
            seen = [crop for crop in growth.seen() if crop.label is None]
            hidden = growth.unseen()
            if unseen and len(hidden) != unseen_count:
                raise Refusal("The number of crops that were not shown has changed: reload. Nothing was written.")
            meta = {"page": "grow", "pages_shown": len(growth.looked)}
            checked = meta | {"checked": len(growth.sample), "wrong": growth.wrong}
            labels = [label_of(crop, growth.class_name, "seen", meta) for crop in seen]
            labels += [label_of(crop, growth.class_name, UNSEEN, checked) for crop in hidden if unseen]
            aside = [crop for crop in growth.crops_marked() if crop.label is None]
            title = work.title_of(growth.class_name)
            text = f"{len(labels)} {title}" + f", {len(hidden)} of them not shown" * unseen
            growth.step = work.write("grown", text, labels, [(crop, growth.class_name) for crop in aside])
            growth.phase = DONE
            work.confirmed(growth.tab)
            return {"accepted": len(labels), "seen": len(seen), "unseen": len(hidden) * unseen, "text": text}

    def _growth(self, number: str) -> Growth:
        found = self._growths.get(number)
        if found is None:
            raise Refusal("This search is too old: start it again. Nothing was written.")
        return found

    def _state(self, growth: Growth) -> dict[str, Any]:
        """What the page shows next."""
        crops = growth.crops()
        self._work.vectors.measure(crops)
        crops[:] = [crop for crop in crops if not crop.fault]  # what cannot be shown is not accepted
        growth.sent_at = time.monotonic()
        state: dict[str, Any] = {
            "growth": growth.id,
            "class": growth.class_name,
            "title": self._work.title_of(growth.class_name),
            "phase": growth.phase,
            "page": growth.page,
            "pages": len(growth.pages),
            "last_yes": growth.last_yes,
            "first_no": growth.first_no,
            "looked": sorted(growth.looked),
            "crops": [self._work.as_json(crop) for crop in crops],
            "total": sum(map(len, growth.pages)),
        }
        if growth.phase == CONFIRM:
            of = len(growth.sample)
            state |= {
                "seen": len(growth.seen()),
                "unseen": len(growth.unseen()),
                "checked": of,
                "wrong": growth.wrong,
                "limit": upper_limit(growth.wrong, of),
            }
        return state
