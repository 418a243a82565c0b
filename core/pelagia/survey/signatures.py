"""What a check keeps of the pictures of a survey, and which images it must still measure.

    signatures(path PK, signature)    bytes that are alike for alike pictures (`pelagia.dataset.near_duplicates`)

It is one more table of the journal; the measures themselves are in `pelagia.survey.additions`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pelagia.survey.journal import Prediction, Survey

_TABLE = "CREATE TABLE IF NOT EXISTS signatures (path TEXT PRIMARY KEY, signature BLOB NOT NULL)"


def unmeasured(survey: Survey, after: str, limit: int) -> list[Prediction]:
    """Classified images without measures whose path sorts after ``after``, at most ``limit``, sorted by path.

    Of each row only path, file and SHA-256 are read, so that many fit into the memory.
    """
    only = "status = 'ok' AND path > ?"
    only += " AND path NOT IN (SELECT path FROM measures)" if survey.has_table("measures") else ""
    query = f"SELECT path, file, sha256 FROM images WHERE {only} ORDER BY path LIMIT {limit}"
    return [Prediction(*row) for row in survey.read(query, (after,))]


def measured_count(survey: Survey) -> int:
    """Number of images that have measures."""
    if not survey.has_table("measures"):
        return 0
    return next(int(count) for (count,) in survey.read("SELECT COUNT(*) FROM measures"))


def add_signatures(survey: Survey, rows: Iterable[tuple[str, bytes]]) -> None:
    """Adds paths with their signatures to a survey that was opened to add.

    Raises:
        SurveyError: the disk is full or failing; nothing is added.
    """
    survey.write((_TABLE,), ("INSERT OR REPLACE INTO signatures VALUES (?, ?)", list(rows)))


def signatures_of(survey: Survey, paths: Sequence[str]) -> dict[str, bytes]:
    """Path -> signature, for those of at most 500 paths that have one."""
    if not survey.has_table("signatures"):
        return {}
    query = f"SELECT path, signature FROM signatures WHERE path IN ({','.join('?' * len(paths))})"
    return dict(survey.read(query, paths))
