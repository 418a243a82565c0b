"""Sends the labels of the journal to Label Studio in the background, four at a time, until all are there.

Invariant: a label is in Label Studio once, or it waits, or it is listed as refused. Before a batch is sent, one request
reads what Label Studio has for its tasks. An annotation that holds the label's own number is the label: a former
attempt arrived although its answer was lost. If the account has labeled the task elsewhere meanwhile, that label
stays, and this one is listed. A server that does not answer is asked again, after longer and longer pauses.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pelagia.errors import StudioError
from pelagia_desk.sheets.journal import GONE, REFUSED, SENT, Entry, Journal, Outcome
from pelagia_labeling.labels.votes import META, votes_of
from pelagia_labeling.studio.connection import WRITE_OPTIONS, Connection
from pelagia_labeling.tasks.interface import class_result, unsure_result
from pelagia_labeling.tasks.project import Project

BATCH, THREADS = 100, 4
LONGEST_PAUSE = 30.0
_FIELDS = (
    "id,annotations,result,completed_by,updated_by,was_cancelled,created_at,updated_at,lead_time,parent_prediction"
)
_AT_ONCE = 25
"""How many answers are written into the journal together."""
_FINAL = frozenset({400, 404, 409, 413, 422})
"""Answers that do not change if the same request is sent again."""


class Sender(threading.Thread):
    """Sends until `stop`. ``fault`` is the last problem in words, empty if all is well.

    Args:
        connection: the connection to the server; labels are written as its account.
        project: the project.
        account: number of the account.
        journal: where the labels wait.
    """

    def __init__(self, connection: Connection, project: Project, account: int, journal: Journal) -> None:
        super().__init__(name="label sender", daemon=True)
        self._connection, self._project, self._account, self._journal = connection, project, account, journal
        self._more = threading.Event()
        self._stopped = threading.Event()
        self.fault = ""

    def wake(self) -> None:
        """Says that there is something to send."""
        self._more.set()

    def stop(self) -> None:
        """Ends the thread after the requests that are under way."""
        self._stopped.set()
        self._more.set()
        if self.is_alive():
            self.join()

    def run(self) -> None:
        """Sends what waits, again and again."""
        pause = 1.0
        with ThreadPoolExecutor(THREADS, thread_name_prefix="label") as pool:
            while not self._stopped.is_set():
                try:
                    busy = self.send_batch(pool)
                    self.fault, pause = "", 1.0
                except StudioError as error:
                    self.fault = str(error)
                    self._stopped.wait(pause)
                    pause = min(2 * pause, LONGEST_PAUSE)
                    continue
                if not busy:
                    self._more.wait(timeout=60)
                    self._more.clear()

    def send_batch(self, pool: ThreadPoolExecutor) -> bool:
        """Sends the next labels; False if there was none.

        Raises:
            StudioError: the server does not answer, or refuses the account. The labels wait.
        """
        entries = self._journal.to_send(BATCH)
        if not entries:
            return False
        present = self._present(sorted({entry.label.task for entry in entries}))
        undone = [entry for entry in entries if not entry.wanted]
        doomed = {annotation_of(entry, present.get(entry.label.task, ())) for entry in undone}
        fresh = [e for e in entries if e.wanted and not self._settled(e, present.get(e.label.task), doomed)]
        # deletions come first: the person may have labeled the same crop again
        for result in [*pool.map(lambda entry: self._take_back(entry, present.get(entry.label.task, ())), undone)]:
            if result is not None:
                raise result
        self._post_all(pool, self._journal.start(fresh))
        return True

    def _post_all(self, pool: ThreadPoolExecutor, entries: Sequence[Entry]) -> None:
        """Sends labels, and writes the answers into the journal, some at once. Raises the first error at the end."""
        answered: list[Outcome] = []
        failed: StudioError | None = None
        for result in pool.map(self._post, entries):
            if isinstance(result, StudioError):
                failed = failed or result
            elif result is not None:
                answered.append(result)
            if len(answered) >= _AT_ONCE:
                self._journal.finish_all(answered)
                answered = []
        self._journal.finish_all(answered)
        if failed is not None:
            raise failed

    def _present(self, tasks: Sequence[int]) -> dict[int, list[Mapping[str, Any]]]:
        """Task -> its annotations, for the tasks that still exist. ``tasks`` is not empty: empty would mean all."""
        query = json.dumps({"selectedItems": {"all": False, "included": list(tasks)}})
        params: dict[str, str | int] = {
            "project": self._project.id, "query": query, "fields": "all", "resolve_uri": "false", "page_size": BATCH,
            "include": _FIELDS,  # without it, the server computes and sends 30 fields
        }  # fmt: skip
        answer = self._connection.get_json("/api/tasks/", params, what="reading what is labeled already")
        return {int(task["id"]): list(task.get("annotations") or ()) for task in answer["tasks"]}

    def _settled(
        self, entry: Entry, annotations: Sequence[Mapping[str, Any]] | None, doomed: Collection[int | None]
    ) -> bool:
        """Whether nothing is to be sent: the label is there, the task is gone, or the person labeled it elsewhere."""
        if annotations is None:
            self._journal.finish(entry, REFUSED, fault="the task was deleted in Label Studio")
            return True
        if (own := annotation_of(entry, annotations)) is not None:
            self._journal.finish(entry, SENT, own)
            return True
        votes = votes_of(annotations, {})
        others = [vote for vote in votes if vote.account == self._account and vote.annotation not in doomed]
        if others:
            said = others[-1].class_name or others[-1].kind
            self._journal.finish(
                entry, REFUSED, fault=f"you labeled it in Label Studio meanwhile ({said}), which stays"
            )
            return True
        return False

    def _post(self, entry: Entry) -> Outcome | StudioError | None:
        """Sends one label; returns what became of it, an error that asks for another try, or None if it is there."""
        label = entry.label
        try:
            with self._connection.doing(f"sending the label of task {label.task}"):
                made = self._connection.client.annotations.create(
                    id=label.task,
                    result=result_of(entry),
                    unique_id=entry.unique_id,
                    request_options=WRITE_OPTIONS | {"timeout_in_seconds": 60},
                    **({"parent_prediction": label.prediction} if label.prediction else {}),
                )
        except StudioError as error:
            if error.status == 409:  # a former attempt arrived; the next batch finds the number of its annotation
                return None
            if error.status not in _FINAL:
                return error
            return Outcome(entry, REFUSED, fault=str(error))
        return Outcome(entry, SENT, int(made.id))

    def _take_back(self, entry: Entry, annotations: Sequence[Mapping[str, Any]]) -> StudioError | None:
        number = annotation_of(entry, annotations)
        if number is not None:
            try:
                with self._connection.doing(f"deleting the label of task {entry.label.task}"):
                    self._connection.client.annotations.delete(id=number, request_options=WRITE_OPTIONS)
            except StudioError as error:
                if error.status != 404:
                    return error
        self._journal.finish(entry, GONE)
        return None


def result_of(entry: Entry) -> list[dict[str, Any]]:
    """The ``result`` of a label's annotation, with the label's number and how it came to be in its ``meta``."""
    label = entry.label
    regions = class_result(label.class_name) if label.class_name else unsure_result()
    said = {"id": entry.unique_id, "page": "sheets", "how": label.how, **label.meta}
    return [{**region, "meta": {META: said}} for region in regions]


def annotation_of(entry: Entry, annotations: Sequence[Mapping[str, Any]]) -> int | None:
    """The number of the annotation that is this label; None if there is none."""
    for annotation in annotations:
        if entry.annotation is not None and annotation.get("id") == entry.annotation:
            return entry.annotation
        for region in annotation.get("result") or ():
            if ((region.get("meta") or {}).get(META) or {}).get("id") == entry.unique_id:
                return int(annotation["id"])
    return None
