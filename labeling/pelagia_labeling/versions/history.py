"""`pelagia dataset history`: the labels of an image through the versions of a dataset, and each person's votes.

A version names its parents by their path and fingerprint. A parent that was moved is looked for beside the dataset; one
that is not found is said to be missing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pelagia.dataset.schema import Dataset, Record
from pelagia.errors import InputError, PelagiaError
from pelagia.system.tables import write_table
from pelagia_labeling.labels.votes import Vote
from pelagia_labeling.versions.parents import datasets_in
from pelagia_labeling.versions.relabel import find_record

COLUMNS = ("time", "event", "class", "who", "split", "group", "agreement", "seconds", "version", "path", "sha256")


@dataclass(frozen=True)
class Lineage:
    """The versions of a dataset from the oldest to the newest, and the parents that were not found."""

    versions: tuple[Dataset, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Event:
    """What happened to the label of an image: in a version of the dataset, or by a vote of a person.

    Attributes:
        time: ISO 8601; of a version, when the dataset was made.
        event: "added", "same", "relabeled", "moved", "removed", or "named", "unsure", "skipped", "empty" for a vote.
        who: the annotators of the version, or the person who voted.
        version: name of the dataset; empty for a vote.
    """

    time: str
    event: str
    class_name: str
    who: str
    split: str
    group: str
    agreement: str
    seconds: str
    version: str
    path: str
    sha256: str

    def row(self) -> tuple[str, ...]:
        """The values in the order of `COLUMNS`."""
        known = (self.time, self.event, self.class_name, self.who, self.split, self.group, self.agreement)
        return (*known, self.seconds, self.version, self.path, self.sha256)


def lineage(dataset: Dataset) -> Lineage:
    """The dataset and all its ancestors; parents come before what was made from them."""
    found: dict[Path, Dataset] = {}  # by folder: two versions may have the same fingerprint
    missing: dict[str, str] = {}
    waiting = [(dataset, False)]
    opened: set[Path] = set()
    while waiting:
        one, parents_done = waiting.pop()
        root = one.root.resolve()
        if parents_done:
            found[root] = one
        elif root not in opened:
            opened.add(root)
            waiting.append((one, True))
            for path, fingerprint in _parents(one):
                parent = _open(one.root, path, fingerprint)
                if parent is None:
                    missing[fingerprint] = f"{path or 'a parent'} (fingerprint {fingerprint[:12]}) of {one.meta.name}"
                else:
                    waiting.append((parent, False))
    return Lineage(tuple(found.values()), tuple(missing.values()))


def _parents(dataset: Dataset) -> list[tuple[str, str]]:
    """(path, fingerprint) of each parent; datasets of older versions of Pelagia name only the fingerprint."""
    if dataset.meta.parents:
        return [(parent.path, parent.fingerprint) for parent in dataset.meta.parents]
    of = dataset.meta.source.get("of")
    return [
        ("", fingerprint) for fingerprint in ([of] if isinstance(of, str) else of or ()) if isinstance(fingerprint, str)
    ]


def _open(root: Path, path: str, fingerprint: str) -> Dataset | None:
    if path:
        try:
            named = Dataset.read(root.absolute() / path)
        except PelagiaError:
            pass
        else:
            if named.meta.fingerprint == fingerprint:
                return named
    beside = datasets_in(root.absolute().parent)
    return next((one for one in beside if one.meta.fingerprint == fingerprint), None)


def find_image(versions: Sequence[Dataset], name: str) -> Record:
    """The row of an image in the newest version that has it.

    Raises:
        InputError: no version has it, or the name fits several images.
    """
    for dataset in reversed(versions):
        if record := find_record(dataset.records, name):
            return record
    raise InputError(
        f"no version of {versions[-1].root} has an image '{name}': give its path in the dataset, its source, or the "
        "beginning of its SHA-256"
    )


def events_of(
    versions: Sequence[Dataset], votes: Mapping[str, Iterable[Vote]], only: str | None = None
) -> Iterator[tuple[str, list[Event]]]:
    """(SHA-256, the events in the order of time) of each image of any version.

    Args:
        versions: the versions, the oldest first.
        votes: SHA-256 -> the votes of people on the image.
        only: the SHA-256 of the only image that is wanted; None for all.
    """
    records: list[dict[str, Record]] = [{one.sha256: one for one in dataset.records} for dataset in versions]
    everything = dict.fromkeys(sha256 for rows in records for sha256 in rows)
    for sha256 in everything if only is None else [only]:
        found = list(_version_events(sha256, versions, records))
        path = next((event.path for event in reversed(found) if event.path), "")
        found += [_vote_event(vote, path, sha256) for vote in votes.get(sha256, ())]
        yield sha256, sorted(found, key=lambda event: event.time.replace("Z", "+00:00")[:19])


def _version_events(
    sha256: str, versions: Sequence[Dataset], records: Sequence[Mapping[str, Record]]
) -> Iterator[Event]:
    """What each version says of an image; each version is compared with its parents."""
    of_version = {dataset.meta.fingerprint: rows for dataset, rows in zip(versions, records, strict=True)}
    for dataset, rows in zip(versions, records, strict=True):
        parents = [of_version[digest] for _, digest in _parents(dataset) if digest in of_version]
        before = next((known[sha256] for known in parents if sha256 in known), None)
        record = rows.get(sha256)
        created, name = dataset.meta.created, dataset.meta.name
        if record is not None:
            change, label, who = _change(before, record), record.class_name, record.annotators
            place = (record.split, record.group, record.agreement)
            yield Event(created, change, label, who, *place, "", name, record.path, sha256)
        elif before is not None:
            yield Event(created, "removed", "", "", "", "", "", "", name, before.path, sha256)


def _change(before: Record | None, after: Record) -> str:
    if before is None:
        return "added"
    kinds = [
        name
        for name, differs in (
            ("relabeled", before.class_name != after.class_name),
            ("moved", before.split != after.split),
        )
        if differs
    ]
    return " and ".join(kinds) or "same"


def _vote_event(vote: Vote, path: str, sha256: str) -> Event:
    seconds = "" if vote.seconds is None else f"{vote.seconds:.1f}"
    time = vote.changed_at or vote.made_at
    return Event(time, vote.kind, vote.class_name, vote.annotator, "", "", "", seconds, "", path, sha256)


def write_history(events: Iterable[tuple[str, Sequence[Event]]], out: Path) -> int:
    """Writes the events of all images as CSV, and returns the number of images."""
    images = 0

    def rows() -> Iterator[tuple[str, ...]]:
        nonlocal images
        for _, found in events:
            images += 1
            yield from (event.row() for event in found)

    write_table(out, COLUMNS, rows(), guard_formulas=False)
    return images


def votes_by_image(tasks: Iterable[tuple[str, Sequence[Vote]]]) -> dict[str, list[Vote]]:
    """SHA-256 -> votes, from (SHA-256, votes) of all tasks: an image may have several tasks."""
    found: dict[str, list[Vote]] = defaultdict(list)
    for sha256, votes in tasks:
        if sha256:
            found[sha256] += votes
    return found
