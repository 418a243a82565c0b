"""Opens tasks again by removing annotations that hold no decision of a person.

Invariant: only annotations that pull leaves out anyway are removed: those that were submitted faster than a person can
look, and those without a class.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from pelagia.errors import StudioError
from pelagia_labeling.studio.connection import WRITE_OPTIONS, Connection

WORKERS = 4
"""The server is not faster with more requests at once."""


def send_back(connection: Connection, annotations: Sequence[int]) -> int:
    """Removes annotations, so that their tasks are open again, and returns the number removed.

    Args:
        connection: the connection to the server.
        annotations: numbers of annotations. Somebody else may have removed some of them already.

    Raises:
        StudioError: the server refuses to remove an annotation.
    """

    def remove(number: int) -> bool:
        try:
            with connection.doing(f"sending back the annotation {number}"):
                connection.client.annotations.delete(id=number, request_options=WRITE_OPTIONS)
        except StudioError as error:
            if error.status == 404:
                return False
            raise
        return True

    with ThreadPoolExecutor(WORKERS) as pool:
        return sum(pool.map(remove, annotations))
