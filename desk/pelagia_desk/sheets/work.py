"""The work of one person on one project: which crops are still to do, which were shown, what was confirmed.

Invariant: a crop gets a label only if it was on a page that was sent to the browser, and the browser reported that it
was displayed; `pelagia_desk.sheets.grow` has the one exception, which the person confirms. Everything confirmed is in
the journal before the answer is sent.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pelagia_desk.sheets import similar
from pelagia_desk.sheets.crops import SORTS, Crop, Loaded
from pelagia_desk.sheets.journal import Journal, Label
from pelagia_desk.sheets.suggest import Reference, Suggestions
from pelagia_desk.sheets.vectors import Vectors

SHORTEST_LOOK = 0.7
"""Seconds. A page that was confirmed sooner was not looked at: a key was held, or pressed twice."""

MOST_CROPS = 200
ALL_GROUPS = "*"
"""The group of all groups: its sheets hold crops of several suggestions, each with the class of its own."""


class Refusal(Exception):  # noqa: N818 - it is shown to the person
    """The page asked for something that must not be done; the text says why."""


@dataclass
class Sheet:
    """Crops that were sent to the browser together.

    Attributes:
        tab: the browser's tab, so that two tabs do not disturb each other.
        group: the suggestion whose crops these are.
        sent_at: when, in seconds of the monotonic clock.
        step: the step of the journal that accepted it; 0 until then.
        odd: tasks that the person marked.
        classes: task -> class under which it was sent, on a sheet of several groups; empty on one of a single group.
    """

    id: str
    tab: str
    group: str
    crops: tuple[Crop, ...]
    sent_at: float
    step: int = 0
    odd: list[int] = field(default_factory=list)
    classes: dict[int, str] = field(default_factory=dict)


class Work:
    """What the routes call. Every thread may; one call is done after the other.

    Args:
        loaded: the crops.
        vectors: their vectors.
        journal: where confirmed labels are written.
        wake: called after something was written.
    """

    def __init__(self, loaded: Loaded, vectors: Vectors, journal: Journal, wake: Any = lambda: None) -> None:
        self.crops, self.classes, self.station_column = loaded.crops, loaded.classes, loaded.station_column
        self.left_out = loaded.left_out
        self.vectors, self.journal, self.wake = vectors, journal, wake
        self.lock = threading.RLock()
        self.by_task = {crop.task: crop for crop in self.crops}
        self.names = [entry.name for entry in self.classes]
        self.predicted = any(crop.guess for crop in self.crops)
        self.suggestions = Suggestions(self.crops, self.names, vectors)
        self._sheets: dict[str, Sheet] = {}
        self._last_confirmed: dict[str, float] = {}
        if self.predicted and vectors.from_model:
            self.suggestions.follow_neighbors()
        self.moved = sum(bool(crop.guess) and crop.home != crop.guess for crop in self.crops)
        self._apply_journal()
        if not self.predicted:
            self._make_clusters()

    def _apply_journal(self) -> None:
        for task, label in self.journal.pending().items():
            if task in self.by_task:
                self.by_task[task].label = label
        for task, class_name in self.journal.asides():
            if task in self.by_task:
                self.by_task[task].rejected.add(class_name)
        self.suggestions.choose([crop for crop in self.crops if crop.rejected and crop.label is None])

    def _make_clusters(self) -> None:
        """Suggests clusters instead of classes."""
        self.vectors.measure(() if self.vectors.from_model else self.crops)
        rows = np.flatnonzero(self.vectors.known)
        for row, cluster in zip(rows, similar.clusters(self.vectors.matrix[rows]), strict=True):
            crop = self.crops[row]
            crop.home = f"cluster {cluster + 1}"
            crop.suggestion = crop.suggestion if crop.rejected else crop.home

    def groups(self, station: str = "") -> list[dict[str, Any]]:
        """The suggestions with crops to do, the largest first: their number, mean score, and how many are second."""
        with self.lock:
            found: dict[str, list[Crop]] = {}
            for crop in self.crops:
                if crop.to_do and (not station or crop.station == station):
                    found.setdefault(crop.suggestion, []).append(crop)
        rows = []
        for name, crops in found.items():
            scores = [crop.score for crop in crops if crop.score is not None and not crop.rejected]
            rows.append(
                {
                    "name": name,
                    "title": self.title_of(name),
                    "count": len(crops),
                    "second": sum(bool(crop.rejected) for crop in crops),
                    "score": float(np.mean(scores)) if scores else None,
                    "examples": [crop.task for crop in crops[:: max(1, len(crops) // 6)][:6]],
                }
            )
        return sorted(rows, key=lambda row: (-row["count"], row["name"]))

    def title_of(self, name: str) -> str:
        """The title of a class or cluster for people."""
        if name == ALL_GROUPS:
            return "all groups"
        titles = {entry.name: entry.title or entry.name for entry in self.classes}
        return titles.get(name, name or "without a suggestion")

    def progress(self) -> dict[str, Any]:
        """How many crops are done, and of which class."""
        with self.lock:
            labeled = Counter(crop.label for crop in self.crops if crop.label is not None)
        named = {name: count for (kind, name), count in labeled.most_common() if kind == "named"}
        faults = sum(bool(crop.fault) for crop in self.crops)
        return {"total": len(self.crops), "done": labeled.total(), "faults": faults, "classes": named}

    def next_sheet(
        self, tab: str, group: str, sort: str, station: str, count: int, open_sheets: Sequence[str]
    ) -> Sheet:
        """The next crops of a group, without those on the sheets that the tab still has open."""
        with self.lock:
            kept = [self._sheets[one] for one in open_sheets if one in self._sheets and self._sheets[one].tab == tab]
            taken = {crop.row for sheet in kept for crop in sheet.crops}
            self._forget(tab, {sheet.id for sheet in kept})
            crops = [
                crop
                for crop in self.crops
                if crop.to_do
                and self._belongs(crop, group)
                and crop.row not in taken
                and (not station or crop.station == station)
            ]
        count = min(max(count, 1), MOST_CROPS)
        chosen = self._of_all_groups(crops, sort, count) if group == ALL_GROUPS else self._ordered(crops, sort, count)
        self.vectors.measure(chosen)
        sheet = Sheet(secrets.token_hex(8), tab, group, tuple(c for c in chosen if not c.fault), time.monotonic())
        if group == ALL_GROUPS:
            sheet.classes = {crop.task: crop.suggestion for crop in sheet.crops}
        with self.lock:
            self._sheets[sheet.id] = sheet
        return sheet

    def _belongs(self, crop: Crop, group: str) -> bool:
        """Whether a crop is shown on the sheets of a group."""
        return crop.suggestion in self.names if group == ALL_GROUPS else crop.suggestion == group

    def _left(self, group: str) -> int:
        """How many crops of a group are still to do."""
        return sum(crop.to_do and self._belongs(crop, group) for crop in self.crops)

    def _of_all_groups(self, crops: list[Crop], sort: str, count: int) -> list[Crop]:
        """The first crops of all groups: the largest group first, and what was set aside after all groups."""
        size = Counter(crop.home for crop in self.crops)
        groups: dict[tuple[bool, int, str], list[Crop]] = {}
        for crop in crops:
            key = bool(crop.rejected), -size[crop.suggestion], crop.suggestion
            groups.setdefault(key, []).append(crop)
        chosen: list[Crop] = []
        for key in sorted(groups):
            if len(chosen) < count:
                chosen += self._ordered(groups[key], sort, count - len(chosen))
        return chosen

    def _forget(self, tab: str, kept: set[str]) -> None:
        """Forgets the sheets of a tab that it does not show any more, except the last accepted ones, for undo."""
        old = [one for one in self._sheets.values() if one.tab == tab and one.id not in kept]
        accepted = [one.id for one in old if one.step][-20:]
        for one in old:
            if one.id not in accepted:
                del self._sheets[one.id]

    def _ordered(self, crops: list[Crop], sort: str, count: int) -> list[Crop]:
        """The first ``count`` crops in an order of `SORTS`, by size, by cluster, or by similarity."""
        if sort in SORTS:
            return sorted(crops, key=SORTS[sort][1])[:count]
        if sort == "size" or not self.vectors.from_model:
            self.vectors.measure(crops)
            crops = [crop for crop in crops if not crop.fault]
        if sort == "size":
            return sorted(crops, key=lambda crop: (-int(self.vectors.sides[crop.row].max()), crop.task))[:count]
        known = [crop for crop in crops if self.vectors.known[crop.row]]
        rest = [crop for crop in crops if not self.vectors.known[crop.row]]
        matrix = self.vectors.matrix[[crop.row for crop in known]]
        if sort == "cluster":
            order = np.argsort(similar.clusters(matrix), kind="stable")
        else:
            order = similar.next_sheet(matrix, count)
        return ([known[row] for row in order] + rest)[:count]

    def sheet(self, number: str) -> Sheet:
        """The sheet with this number. Raises Refusal if the desk did not send it."""
        found = self._sheets.get(number)
        if found is None:
            raise Refusal("This page is too old: reload it. Nothing was written.")
        return found

    def accept(
        self, number: str, class_name: str, displayed: Sequence[int], odd: Sequence[int], seconds: float
    ) -> dict[str, Any]:
        """Accepts the crops of a sheet that were displayed and not marked, and sets the marked ones aside.

        On a sheet of several groups ``class_name`` is not used: each crop gets the class under which it was sent.

        Raises:
            Refusal: the sheet was accepted already or too quickly, there is no such class, or crops are named that
                were not on the sheet. Nothing is written.
        """
        with self.lock:
            sheet = self.sheet(number)
            if not sheet.classes:
                self._require_class(class_name)
            if sheet.step:
                raise Refusal("This sheet was accepted already.")
            self.require_sent(sheet.crops, [*displayed, *odd])
            self.require_look(sheet.tab, sheet.sent_at, seconds)
            marked, shown = set(odd), set(displayed)
            todo = [crop for crop in sheet.crops if crop.label is None]
            accepted = [crop for crop in todo if crop.task in shown - marked]
            aside = [crop for crop in todo if crop.task in marked]
            classes = sheet.classes or {crop.task: class_name for crop in sheet.crops}
            text = self._accepted_text(Counter(classes[crop.task] for crop in accepted), class_name, len(aside))
            meta = {"shown": len(displayed), "seconds": round(seconds, 1)}
            labels = [label_of(crop, classes[crop.task], "seen", meta) for crop in accepted]
            sheet.odd = [crop.task for crop in aside]
            sheet.step = self.write("accepted", text, labels, [(crop, classes[crop.task]) for crop in aside])
            self.confirmed(sheet.tab)
            reference = self.suggestions.reference()
            return {
                "accepted": len(accepted),
                "not_shown": len([crop for crop in todo if crop.task not in shown | marked]),
                "meanwhile": len(sheet.crops) - len(todo),
                "left": self._left(sheet.group),
                "odd": [self._odd_json(crop, classes[crop.task], reference) for crop in aside],
                "text": text,
            }

    def _odd_json(self, crop: Crop, class_name: str, reference: Reference) -> dict[str, Any]:
        """A crop that was set aside as not of a class; "again" says that it was set aside before."""
        said = {"likely": self.suggestions.likely(crop, reference), "not": class_name, "again": len(crop.rejected) > 1}
        return self.as_json(crop) | said

    def _accepted_text(self, accepted: Mapping[str, int], class_name: str, aside: int) -> str:
        """What one confirmation did, such as "96 copepod, 3 set aside"."""
        if len(accepted) > 1:
            text = f"{sum(accepted.values())} crops of {len(accepted)} classes"
        else:
            name, count = next(iter(accepted.items()), (class_name, 0))
            text = f"{count} {self.title_of(name)}" if name else "0 crops"
        return text + f", {aside} set aside" * bool(aside)

    def name(self, number: str, task: int, class_name: str, seconds: float) -> dict[str, Any]:
        """Gives a crop that was set aside on a sheet its class, or "unsure" if ``class_name`` is empty.

        Raises:
            Refusal: the crop was not set aside on this sheet, has a label, or there is no such class.
        """
        with self.lock:
            sheet, crop = self.sheet(number), self.by_task.get(task)
            if class_name:
                self._require_class(class_name)
            if crop is None or task not in sheet.odd:
                raise Refusal("This crop was not set aside on this sheet. Nothing was written.")
            if crop.label is not None:
                raise Refusal("This crop has a label already.")
            meta = {"seconds": round(seconds, 1)}
            how = "chosen"
            label = label_of(crop, class_name, how, meta) if class_name else Label(task, "", "unsure", how, None, meta)
            text = f"{self.title_of(class_name) if class_name else 'unsure'}: {crop.path}"
            self.write("named", text, [label], ())
            return {"text": text, "left": self._left(sheet.group)}

    def write(self, kind: str, text: str, labels: Sequence[Label], aside: Sequence[tuple[Crop, str]]) -> int:
        """Writes labels, and crops with a class that they are not of, into the journal and into memory."""
        step = self.journal.add(kind, text, labels, [(crop.task, class_name) for crop, class_name in aside])
        for label in labels:
            self.by_task[label.task].label = label.kind, label.class_name
        for crop, class_name in aside:
            crop.rejected.add(class_name)
        self.suggestions.choose([crop for crop, _ in aside])
        self.wake()
        return step

    def labeled_elsewhere(self, labels: Mapping[int, tuple[str, str]]) -> int:
        """Takes over labels that Label Studio has, task -> (kind, class); returns for how many crops that was news."""
        with self.lock:
            own = self.journal.pending().keys() | self.journal.undone()
            new = [task for task in labels if task in self.by_task and task not in own]
            crops = [self.by_task[task] for task in new if self.by_task[task].label is None]
            for crop in crops:
                crop.label = labels[crop.task]
            return len(crops)

    def undo(self) -> dict[str, Any]:
        """Takes back the last step that was not taken back. Raises Refusal if there is none."""
        with self.lock:
            step = self.journal.last_step()
            if step is None:
                raise Refusal("There is nothing to take back.")
            self.journal.undo(step.id)
            for task in step.labeled:
                if task in self.by_task:
                    self.by_task[task].label = None
            for task, class_name in step.asides:
                if task in self.by_task:
                    self.by_task[task].rejected.discard(class_name)
            self.suggestions.choose([self.by_task[task] for task, _ in step.asides if task in self.by_task])
            self.wake()
            reopened = next((sheet for sheet in self._sheets.values() if sheet.step == step.id), None)
            answer: dict[str, Any] = {"kind": step.kind, "text": step.text, "tasks": list(step.labeled)}
            if reopened is not None:
                answer["marked"] = list(reopened.odd)
                reopened.step, reopened.odd, reopened.sent_at = 0, [], time.monotonic()
                answer["sheet"] = self.sheet_as_json(reopened)
            return answer

    def _require_class(self, class_name: str) -> None:
        if class_name not in self.names:
            raise Refusal("Choose a class first." if not class_name else f"There is no class '{class_name}'.")

    @staticmethod
    def require_sent(crops: Sequence[Crop], tasks: Iterable[int]) -> None:
        """Raises Refusal if one of the tasks is not among the crops that were sent to the page."""
        if not set(tasks) <= {crop.task for crop in crops}:
            raise Refusal("The page named crops that were not shown on it. Nothing was written.")

    def require_look(self, tab: str, sent_at: float, seconds: float) -> None:
        """Raises Refusal if the page was confirmed before anybody could look at it."""
        since = time.monotonic() - max(sent_at, self._last_confirmed.get(tab, 0.0))
        if min(since, seconds) < SHORTEST_LOOK:
            raise Refusal("That was too quick to have looked at the page: look, and press Enter again.")

    def confirmed(self, tab: str) -> None:
        """Notes that the tab confirmed a page just now."""
        self._last_confirmed[tab] = time.monotonic()

    def sheet_as_json(self, sheet: Sheet, station: str = "") -> dict[str, Any]:
        """A sheet as the page gets it; one without crops names the largest other group of the station."""
        with self.lock:
            left = self._left(sheet.group)
        class_name = sheet.group if sheet.group in self.names else ""
        crops = [self.as_json(crop) | {"class": sheet.classes.get(crop.task, class_name)} for crop in sheet.crops]
        shown = {"sheet": sheet.id, "group": sheet.group, "class": class_name, "left": left, "crops": crops}
        others = [] if crops else [group for group in self.groups(station) if group["name"] != sheet.group]
        return shown | {"next": others[0] if others else None}

    def as_json(self, crop: Crop) -> dict[str, Any]:
        """A crop as the page gets it."""
        width, height = map(int, self.vectors.sides[crop.row])
        shown = {"id": crop.task, "width": width, "height": height, "um": crop.um, "score": crop.score}
        return shown | {"station": crop.station, "path": crop.path, "guess": crop.guess}


def label_of(crop: Crop, class_name: str, how: str, meta: Mapping[str, Any]) -> Label:
    """The label of a crop. It names the pre-label if that was accepted with its page, not if the class was chosen."""
    prediction = crop.prediction if crop.guess == class_name and how != "chosen" else None
    return Label(crop.task, class_name, "named", how, prediction, meta)
