"""The worker processes of a run, and what happens when one dies or hangs.

Invariant: every request gets an answer. One over which a process dies, or says nothing for too long, goes to a new
process an image at a time; those that end that one too have failed (``crashed``, ``timed_out``), and the rest is done
in its batches, so that it gets the probabilities that it would have had if the culprit were merely undecodable.

Processes and not threads, because a decoder that crashes takes its process along, and because the Python around each
image would wait for one interpreter lock. They are plain subprocesses, the same on every system, and a program that
calls `predict` needs no ``if __name__ == "__main__"``.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Self, cast

from pelagia.errors import PelagiaError
from pelagia.model.metadata import ModelFile
from pelagia.sources.image import Fault
from pelagia_inference.machine.setting import Setting
from pelagia_inference.workers.launch import stop_unused_workers
from pelagia_inference.workers.process import WorkerDied, WorkerProcess
from pelagia_inference.workers.protocol import Answer, Hello, Item, Outcome, Request

PATIENCE = 60.0
"""Seconds that a worker may take over one image, or to start."""
_STARTS = 3
_DEATHS = ("crashed", "timed_out")
_HELD = 2
"""Requests that a worker holds: one that it computes, and the next."""

_Task = tuple[Request, "Future[Answer]"]


class WorkerPool:
    """Workers, each a process with a session of its own. Use as a context manager.

    `ready` and the futures of `submit` raise what `Session` raises, and PelagiaError where a process does not start.
    """

    def __init__(self, model: ModelFile, provider: str, setting: Setting, patience: float = PATIENCE) -> None:
        hello = Hello(model.graph, provider, setting.threads)
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._over = threading.Event()
        self._foremen = [_WorkerThread(hello, self._tasks, patience, self._over) for _ in range(setting.workers)]
        stop_unused_workers()
        self._watch = threading.Thread(target=self._watch_over, name="pelagia-watch", daemon=True)
        for thread in (*self._foremen, self._watch):
            thread.start()

    def ready(self) -> None:
        """Waits until the first worker has loaded the model."""
        self._foremen[0].started.result()

    def submit(self, request: Request) -> Future[Answer]:
        """Has some batches done by the next worker that is free."""
        future: Future[Answer] = Future()
        self._tasks.put((request, future))
        return future

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the workers, and lets go of their memory; may be called again."""
        self._over.set()
        for foreman in self._foremen:
            foreman.process.kill()
            self._tasks.put(None)
        for thread in (*self._foremen, self._watch):
            thread.join()

    def _watch_over(self) -> None:
        """Counts seconds and reads no clock, so that a laptop's sleep is not held against a worker."""
        while not self._over.wait(1.0):
            for foreman in self._foremen:
                foreman.process.second_passed()


class _WorkerThread(threading.Thread):
    """Keeps one process at work, and replaces it where it dies."""

    def __init__(self, hello: Hello, tasks: SimpleQueue[_Task | None], patience: float, over: threading.Event) -> None:
        super().__init__(name="pelagia-foreman", daemon=True)
        self.started: Future[None] = Future()
        self.process = WorkerProcess(hello, patience)
        self._hello = hello
        self._patience = patience
        self._tasks = tasks
        self._over = over
        self._held: deque[_Task] = deque()

    def run(self) -> None:
        try:
            self._start()
            self.started.set_result(None)
            while self._take():
                self._finish_first()
        except Exception as error:
            self._fail_all(error)
        finally:
            self.process.close()

    def _take(self) -> bool:
        """Fills up what the process holds; False where nothing more will come."""
        while len(self._held) < _HELD:
            try:
                task = self._tasks.get(block=not self._held)
            except Empty:
                break
            if task is None:
                return False
            self._held.append(task)
            self.process.send(task[0])
        return True

    def _finish_first(self) -> None:
        request, future = self._held[0]
        try:
            answer = self._receive()
        except WorkerDied:
            self._replace()
            answer = self._one_by_one(request)
            for later, _ in list(self._held)[1:]:
                self.process.send(later)
        self._held.popleft()
        future.set_result(answer)

    def _fail_all(self, error: Exception) -> None:
        """Whoever waits for this worker meets the fault, now and later."""
        if not self.started.done():
            self.started.set_exception(error)
        for _, future in self._held:
            future.set_exception(error)
        while not self._over.is_set() and (task := self._tasks.get()) is not None:
            task[1].set_exception(error)

    def _receive(self) -> Answer:
        return cast("Answer", self.process.receive())

    def _replace(self) -> None:
        """Raises WorkerDied where the run is over: then it died of that."""
        self.process = WorkerProcess(self._hello, self._patience)
        self._start()

    def _start(self) -> None:
        """A process that is killed before it stands is not the last attempt."""
        for attempt in range(1, _STARTS + 1):
            try:
                if self._over.is_set():  # who ends the run kills the process that it sees
                    raise WorkerDied("crashed", "the run is over")
                self.process.start()
            except WorkerDied as end:
                if self._over.is_set():
                    raise
                if attempt == _STARTS:
                    remedy = "is there memory for it? Try --workers 1"
                    raise PelagiaError(f"a worker does not start: {end}; {remedy}") from None
                self.process = WorkerProcess(self._hello, self._patience)
            else:
                return

    def _one_by_one(self, request: Request) -> Answer:
        alone = [[self._alone(item) for item in batch] for batch in request]
        self.process.send(
            [
                [_without(*pair) for pair in zip(batch, answers, strict=True)]
                for batch, answers in zip(request, alone, strict=True)
            ]
        )
        try:
            return self._receive()
        except WorkerDied:  # each passes alone and together they do not, as where memory is short
            self._replace()
            return Answer.joined([one for answers in alone for one in answers])

    def _alone(self, item: Item) -> Answer:
        self.process.send([[item]])
        try:
            return self._receive()
        except WorkerDied as end:
            self._replace()
            failed, graph = [Outcome("", end.reason, str(end))], self._hello.graph
            return Answer.failed(failed, len(graph.classes), scored=graph.scores_unknown)


def _without(item: Item, answer: Answer) -> Item:
    """``item``, or one that fails as the image did that ended its process."""
    outcome = answer.outcomes[0]
    return (Fault(outcome.reason, outcome.message), 0.0) if outcome.reason in _DEATHS else item
