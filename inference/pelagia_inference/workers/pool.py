"""The worker processes of a run, and what happens if one of them crashes or hangs.

Invariant: every request gets a response. If a process ends during a request, or does not answer in time, a new process
takes the images of that request one at a time. The images that end this process too have failed (``crashed``,
``timed_out``). The other images are then computed in their old batches, so they get the probabilities that they would
have had if the failed images could not be decoded.

These are processes and not threads: a decoder that crashes ends its process, and threads would wait for Python's global
interpreter lock around every image. They are plain subprocesses, the same on every system, so a program that calls
`predict` needs no ``if __name__ == "__main__"``.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Self, cast

from pelagia.errors import PelagiaError
from pelagia.model.embedder import EmbeddingModel
from pelagia.model.metadata import ModelFile
from pelagia.sources.image import Fault
from pelagia_inference.machine.setting import Setting
from pelagia_inference.workers.launch import stop_unused_workers
from pelagia_inference.workers.process import WorkerDied, WorkerProcess
from pelagia_inference.workers.protocol import Item, Outcome, Request, Response, Setup

IMAGE_TIMEOUT = 60.0
"""Seconds that a worker may take to read and decode one image, or for its imports."""
_MAX_STARTS = 3
_PROCESS_ENDED = ("crashed", "timed_out")
_REQUESTS_PER_WORKER = 2
"""Number of requests that a worker has at a time: it computes one, and the next one waits in its pipe."""

_Task = tuple[Request, "Future[Response]"]


class WorkerPool:
    """Workers, each a process with its own session. Use it as a context manager.

    Args:
        model: the model that the workers compute.
        provider: a key of `pelagia_inference.machine.providers.PROVIDERS`.
        setting: how many workers, and the threads of each; its batch is not used here.
        timeout: seconds that a worker may take to read and decode one image, or for its imports. Loading the model and
            computing the network may take longer.
        embedding: whether the responses hold the embeddings of a model that has them.

    `ready` and the futures of `submit` raise what `Session` raises, and PelagiaError if a process does not start.
    """

    def __init__(
        self,
        model: ModelFile | EmbeddingModel,
        provider: str,
        setting: Setting,
        timeout: float = IMAGE_TIMEOUT,
        *,
        embedding: bool = False,
    ) -> None:
        setup = Setup(model.graph, provider, setting.threads, embedding)
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._closed = threading.Event()
        self._threads = [_WorkerThread(setup, self._tasks, timeout, self._closed) for _ in range(setting.workers)]
        stop_unused_workers()
        self._watchdog = threading.Thread(target=self._count_seconds, name="pelagia-watchdog", daemon=True)
        for thread in (*self._threads, self._watchdog):
            thread.start()

    def ready(self) -> None:
        """Waits until the first worker has loaded the model."""
        self._threads[0].started.result()

    def submit(self, request: Request) -> Future[Response]:
        """Gives a request to the next worker that is free."""
        future: Future[Response] = Future()
        self._tasks.put((request, future))
        return future

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the workers, which frees their memory. May be called again."""
        self._closed.set()
        for thread in self._threads:
            thread.process.kill()
            self._tasks.put(None)
        for ended in (*self._threads, self._watchdog):
            ended.join()

    def _count_seconds(self) -> None:
        """Counts seconds instead of reading a clock, so a laptop's sleep does not count as a worker's time."""
        while not self._closed.wait(1.0):
            for thread in self._threads:
                thread.process.second_passed()


class _WorkerThread(threading.Thread):
    """Sends requests to one process, and replaces the process if it ends."""

    def __init__(self, setup: Setup, tasks: SimpleQueue[_Task | None], timeout: float, closed: threading.Event) -> None:
        super().__init__(name="pelagia-worker", daemon=True)
        self.started: Future[None] = Future()
        self.process = WorkerProcess(setup, timeout)
        self._setup = setup
        self._timeout = timeout
        self._tasks = tasks
        self._closed = closed
        self._sent: deque[_Task] = deque()

    def run(self) -> None:
        try:
            self._start()
            self.started.set_result(None)
            while self._send_tasks():
                self._finish_oldest()
        except Exception as error:
            self._fail_all(error)
        finally:
            self.process.close()

    def _send_tasks(self) -> bool:
        """Sends requests until the process has enough of them. Returns False if there will be no more."""
        while len(self._sent) < _REQUESTS_PER_WORKER:
            try:
                task = self._tasks.get(block=not self._sent)
            except Empty:
                break
            if task is None:
                return False
            self._sent.append(task)
            self.process.send(task[0])
        return True

    def _finish_oldest(self) -> None:
        request, future = self._sent[0]
        try:
            response = self._receive()
        except WorkerDied:
            self._replace()
            response = self._one_by_one(request)
            for later, _ in list(self._sent)[1:]:
                self.process.send(later)
        self._sent.popleft()
        future.set_result(response)

    def _fail_all(self, error: Exception) -> None:
        """Raises the error for all requests of this worker, present and future."""
        if not self.started.done():
            self.started.set_exception(error)
        for _, future in self._sent:
            future.set_exception(error)
        while not self._closed.is_set() and (task := self._tasks.get()) is not None:
            task[1].set_exception(error)

    def _receive(self) -> Response:
        return cast("Response", self.process.receive())

    def _replace(self) -> None:
        """Starts a new process. Raises WorkerDied if the pool was closed, which is then why the old one ended."""
        self.process = WorkerProcess(self._setup, self._timeout)
        self._start()

    def _start(self) -> None:
        """Starts the process. Tries several times, because another program may have killed it."""
        for attempt in range(1, _MAX_STARTS + 1):
            try:
                if self._closed.is_set():  # `close` has killed the process that it saw, which is not this one
                    raise WorkerDied("crashed", "the run is over")
                self.process.start()
            except WorkerDied as end:
                if self._closed.is_set():
                    raise
                if attempt == _MAX_STARTS:
                    remedy = "there may be too little memory: close other programs, or try --workers 1"
                    raise PelagiaError(f"a worker process does not start: {end}; {remedy}") from None
                self.process = WorkerProcess(self._setup, self._timeout)
            else:
                return

    def _one_by_one(self, request: Request) -> Response:
        """Finds the images that end a process, then computes the other images in their batches."""
        singles = [[self._single(item) for item in batch] for batch in request]
        self.process.send(
            [
                [_without_crash(*pair) for pair in zip(batch, responses, strict=True)]
                for batch, responses in zip(request, singles, strict=True)
            ]
        )
        try:
            return self._receive()
        except WorkerDied:  # each image works by itself but not all together, for example if memory is short
            self._replace()
            return Response.joined([response for responses in singles for response in responses])

    def _single(self, item: Item) -> Response:
        self.process.send([[item]])
        try:
            return self._receive()
        except WorkerDied as end:
            self._replace()
            return Response.failed([Outcome("", end.reason, str(end))], self._setup)


def _without_crash(item: Item, response: Response) -> Item:
    """``item``, or, if it ended its process, an item that fails with the same reason."""
    outcome = response.outcomes[0]
    return (Fault(outcome.reason, outcome.message), 0.0) if outcome.reason in _PROCESS_ENDED else item
