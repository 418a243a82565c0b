"""Notices what others label while the page is open: reads the tasks that changed, once a minute, in the background.

Invariant: it only adds labels of crops that had none, so those crops are on no sheet to come. On a sheet that is open
already, the sender and `pelagia_desk.sheets.work` see to it that a crop is not labeled twice by the same account.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

from pelagia.errors import StudioError
from pelagia_desk.sheets.crops import label_on
from pelagia_desk.sheets.work import Work
from pelagia_labeling.studio.connection import Connection
from pelagia_labeling.tasks.project import ANNOTATIONS, Project, list_tasks

EVERY = 60.0
"""Seconds between two readings."""

OVERLAP = timedelta(seconds=10)
"""Tasks that changed shortly before the last one that was read are read again: their change may have come later."""

_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"


class Colleagues(threading.Thread):
    """Reads until `stop`.

    Args:
        connection: the connection to the server.
        project: the project.
        work: the crops that get the labels.
    """

    def __init__(self, connection: Connection, project: Project, work: Work) -> None:
        super().__init__(name="labels of colleagues", daemon=True)
        self._connection, self._project, self._work = connection, project, work
        self._stopped = threading.Event()
        self._since = ""

    def stop(self) -> None:
        """Ends the thread after the request that is under way."""
        self._stopped.set()
        if self.is_alive():
            self.join()

    def run(self) -> None:
        """Reads once a minute; a server that does not answer is asked again a minute later."""
        while not self._stopped.wait(EVERY):
            try:
                self.read()
            except StudioError:
                continue  # the sender says that the server does not answer

    def read(self) -> int:
        """Reads what changed since the last reading, and returns how many crops have a label by this.

        Raises:
            StudioError: the server fails.
        """
        latest, labels = self._since, {}
        changed = list_tasks(self._connection, self._project, parts=ANNOTATIONS, changed_since=_earlier(self._since))
        for task in changed:
            latest = max([latest, *(str(one.get("updated_at") or "") for one in task.annotations)])
            label = label_on(task)
            if label is not None:
                labels[task.id] = label
            if self._stopped.is_set():
                return 0
        self._since = latest
        return self._work.labeled_elsewhere(labels)


def _earlier(time: str) -> str:
    """A time as the server writes it, less the overlap; empty if it is empty."""
    if not time:
        return ""
    return (datetime.fromisoformat(time).astimezone(UTC) - OVERLAP).strftime(_FORMAT)
