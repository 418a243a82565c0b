"""Chooses one image of each object: the one of the lowest ``img_rank``, which EcoTaxa shows first.

Invariant: rows are never kept in memory, except the images of one object that follow each other. EcoTaxa writes them
so; for other orders, 8 bytes for each object are enough to find the rows to leave out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pelagia.errors import InputError
from pelagia.sources.listing import Listing
from pelagia.sources.seen import Seen

Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Ranked:
    """A row of a table. ``key`` identifies its object; a row without a key or a rank is always taken."""

    key: str
    rank: float | None
    place: str
    row: Row


def lowest_ranks(rows: Iterable[Ranked], listing: Listing) -> Iterator[Row]:
    """The rows with the lowest rank of their object, in order; the others are counted as ``other_rank``.

    Raises:
        InputError: an object has an image of a lower rank, far below one that was taken already.
    """
    chosen = _Chosen()
    group: list[Ranked] = []
    for row in rows:
        if group and row.key != group[0].key:
            yield from _best(group, chosen, listing)
            group = []
        if row.key and row.rank is not None:
            group.append(row)
        else:
            yield row.row
    if group:
        yield from _best(group, chosen, listing)


def _best(group: list[Ranked], chosen: _Chosen, listing: Listing) -> Iterator[Row]:
    lowest = min(row.rank for row in group if row.rank is not None)
    before = chosen.rank_of(group[0].key, lowest)
    if before is not None and lowest < before:
        raise InputError(
            f"{group[0].place}: an image of a lower img_rank than the images of its object above: sort the table by "
            "object_id and img_rank, or take all images with --all-ranks"
        )
    for row in group:
        if row.rank == lowest and (before is None or lowest == before):
            yield row.row
        else:
            listing.left_out["other_rank"] += 1


class _Chosen:
    """The rank that was taken of each object: one number for most objects, and a table of the exceptions."""

    def __init__(self) -> None:
        self._seen = Seen()
        self._usual: float | None = None
        self._unusual: dict[str, float] = {}

    def rank_of(self, key: str, rank: float) -> float | None:
        """The rank that was taken of an object; None if it is new: then ``rank`` is noted for it."""
        if self._seen.add(key):
            return self._unusual.get(key, self._usual)
        if self._usual is None:
            self._usual = rank
        if rank != self._usual:
            self._unusual[key] = rank
        return None
