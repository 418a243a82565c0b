"""Cells and carbon of an image, so that chains and colonies become cells.

Invariant: an image without a number of cells is never taken for one cell. Its class gets no cells unless a table says
how many an image of it shows.

A number comes, in this order, from people who counted the cells of the image (a table with ``path`` and ``cells``, or
labels that the survey got from them), from the column ``cells`` of the input, from a table by class, or from the mean
of the other images of the class.

Carbon is given only where a published formula holds: for diatoms and for other single-celled plankton. The taxonomy of
the model decides which it is, or the column ``carbon`` of the table. Animals, radiolarians and foraminifers get none.
The formulas are those of Menden-Deuer and Lessard (2000): see `carbon_pg`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pelagia.errors import InputError
from pelagia.tables.reader import open_table
from pelagia.tables.values import is_missing, number
from pelagia.taxonomy import Taxonomy
from pelagia_inference.counts.taxa import lineage_of

CELLS = "cells"
"""The column of the input with the number of cells that an image shows."""
PEOPLE, COLUMN = "people", "column"
"""Where the cells of an image come from."""
_Z = 1.6448536269514722  # 90% of a normal distribution are within this many standard deviations
_MOST = 1_000_000_000
CARBON = {"diatom": True, "protist": False}
"""Value of the column ``carbon`` -> whether the formula for diatoms is used. ``none``: no carbon."""
LARGE_DIATOM_UM3 = 3000.0
"""Diatoms above this volume have a carbon formula of their own."""
_DIATOMS = frozenset(
    {"bacillariophyta", "bacillariophyceae", "bacillariophytina", "coscinodiscophyceae", "mediophyceae"}
)
_PROTISTS = frozenset(
    {"ciliophora", "dinoflagellata", "dinophyceae", "haptophyta", "cryptophyta", "euglenozoa", "chlorophyta"}
)
_OTHER = frozenset({"animalia", "metazoa", "rhizaria", "radiozoa", "radiolaria", "foraminifera"})


@dataclass
class Moments:
    """Number, sum and sum of squares of values."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        """Adds a value."""
        self.count += 1
        self.total += value
        self.squares += value * value

    @property
    def mean(self) -> float:
        """The mean; there must be a value."""
        return self.total / self.count

    @property
    def deviation(self) -> float:
        """The standard deviation of a sample; 0 for a single value."""
        if self.count < 2:
            return 0.0
        return math.sqrt(max(0.0, (self.squares - self.total * self.mean) / (self.count - 1)))

    @property
    def spread(self) -> float:
        """The variance in units of the squared mean, for intervals of sums of skewed values; 0 for a single value.

        Few values of a skewed distribution mostly miss its largest ones, so their variance is too small. The factor
        ``1 + 4 / (n - 1)`` was chosen by simulation: see `docs/reference/counts.md`.
        """
        if self.count < 2 or not self.total:
            return 0.0
        return (self.deviation / self.mean) ** 2 * (1 + 4 / (self.count - 1))


def joined(parts: Iterable[Moments]) -> Moments:
    """The moments of all values together."""
    found = list(parts)
    return Moments(sum(one.count for one in found), sum(one.total for one in found), sum(one.squares for one in found))


def usual_spread(classes: Iterable[Moments]) -> float:
    """The mean of `Moments.spread` over classes, each with its degrees of freedom as weight; 0 if none is known."""
    known = [one for one in classes if one.count > 1]
    return sum(one.spread * (one.count - 1) for one in known) / max(1, sum(one.count - 1 for one in known))


@dataclass(frozen=True)
class CellsPerImage:
    """The cells that an image of a class shows.

    Attributes:
        mean: the mean number.
        deviation: the standard deviation between images; 0 if it is not stated.
        images: number of images that it was counted on; 0 if it is not stated.
    """

    mean: float
    deviation: float = 0.0
    images: float = 0

    def error(self, counted: float) -> float:
        """Half the width of the 90% interval of the mean cells of ``counted`` images, above 0.

        It adds the error of the mean that is used, and the chance of which images are in the sample.
        """
        of_mean = self.deviation**2 / self.images if self.images else 0.0
        return _Z * math.sqrt(of_mean + self.deviation**2 / max(counted, 1.0))


def mixed(counted: CellsPerImage, stated: CellsPerImage, share: float) -> CellsPerImage:
    """The cells of an image of a class of which a share, 0..1, was counted, and the rest is as stated.

    The variances of the two, and of their means, are weighted as the parts of a sum.
    """
    if share >= 1:
        return counted
    mean = share * counted.mean + (1 - share) * stated.mean
    variance = share * counted.deviation**2 + (1 - share) * stated.deviation**2
    of_means = sum(
        (part * one.deviation) ** 2 / one.images for part, one in ((share, counted), (1 - share, stated)) if one.images
    )
    images = variance / of_means if of_means else 0.0  # so many that `error` gives the error of this mean
    return CellsPerImage(mean, math.sqrt(variance), images)


@dataclass(frozen=True)
class CellTable:
    """A table of cells.

    Attributes:
        classes: class -> cells of an image.
        images: path of an image -> cells that people counted.
        carbon: class -> a key of `CARBON` or "none", where the table says it.
    """

    classes: Mapping[str, CellsPerImage] = field(default_factory=dict)
    images: Mapping[str, float] = field(default_factory=dict)
    carbon: Mapping[str, str] = field(default_factory=dict)

    def of_image(self, path: str, columns: Mapping[str, str], people: float | None = None) -> tuple[float | None, str]:
        """The cells of an image, and where they come from: `PEOPLE` or `COLUMN`; (None, "") if nobody counted them.

        Args:
            path: the name of the image in the survey.
            columns: its columns of the input.
            people: what people counted, as the survey has it; a table that names the image goes before.
        """
        found = self.images.get(path, people)
        if found is not None:
            return found, PEOPLE
        value = number(columns.get(CELLS, ""))
        return (value, COLUMN) if value is not None and 0 <= value <= _MOST else (None, "")


def read_cells(path: Path) -> CellTable:
    """Reads a table with ``class,cells`` and perhaps ``sd,images,carbon``, or with ``path,cells``.

    Raises:
        InputError: the table has other columns, a value that is no number, or rows that contradict each other; the
            message has the line.
    """
    table = open_table(path, what="table of cells", known=("class", "path", CELLS))
    if ("class" in table.columns) == ("path" in table.columns) or (
        CELLS not in table.columns and "carbon" not in table.columns
    ):
        raise InputError(
            f"{path}: a table of cells has the columns class, cells (and sd, images, carbon), or the columns path, "
            f"cells; this one has {', '.join(table.columns)}"
        )
    by_class: dict[str, CellsPerImage] = {}
    by_image: dict[str, float] = {}
    carbon: dict[str, str] = {}
    for line, row in table.rows():
        where = f"{path}, {table.place} {line}"
        if "path" in row:
            if (cells := _number(row, CELLS, where)) is not None:
                _add_image(by_image, row["path"], cells, where)
            continue
        name = row["class"].strip()
        if name in by_class or name in carbon:
            raise InputError(f"{where}: the class '{name}' is in the table twice")
        if (cells := _number(row, CELLS, where)) is not None:
            images = int(_number(row, "images", where) or 0)
            by_class[name] = CellsPerImage(cells, _number(row, "sd", where) or 0.0, images)
        if not is_missing(kind := row.get("carbon", "")):
            carbon[name] = _kind(kind, where)
    return CellTable(by_class, by_image, carbon)


def _add_image(by_image: dict[str, float], path: str, cells: float, where: str) -> None:
    if is_missing(path):
        raise InputError(f"{where}: a number of cells, but no path of an image")
    if (before := by_image.setdefault(path, cells)) != cells:
        raise InputError(
            f"{where}: {cells:g} cells for '{path}', but {before:g} in a row above: leave the right row in the table"
        )


def _number(row: Mapping[str, str], name: str, where: str) -> float | None:
    text = row.get(name, "")
    if is_missing(text):
        return None
    value = number(text)
    if value is None or not 0 <= value <= _MOST:
        raise InputError(f"{where}: {name} '{text}' is not a number from 0 to {_MOST:,}")
    return value


def _kind(text: str, where: str) -> str:
    kind = text.strip().lower()
    if kind not in (*CARBON, "none"):
        raise InputError(f"{where}: carbon '{text}' is not one of {', '.join(CARBON)}, none")
    return kind


def carbon_kinds(classes: Sequence[str], taxonomy: Taxonomy | None, table: CellTable) -> dict[str, str]:
    """Class -> the formula of its carbon, a key of `CARBON`; a class without a formula is missing."""
    found = {}
    for name in classes:
        lineage = {taxon.lower() for taxon in lineage_of(taxonomy, name)} if taxonomy else set()
        kind = table.carbon.get(name)
        if kind is None and not lineage & _OTHER:
            kind = "diatom" if lineage & _DIATOMS else "protist" if lineage & _PROTISTS else None
        if kind in CARBON:
            found[name] = kind
    return found


def carbon_of(kinds: Mapping[str, str]) -> Callable[[str, float, float], float | None]:
    """A function that gives the carbon of an image in picograms, from its class, volume and cells; None: no formula.

    The formulas are for cells: the volume of a chain is divided among its cells.
    """

    def carbon(name: str, volume: float, cells: float) -> float | None:
        if name not in kinds or cells <= 0:
            return None
        return float(cells * carbon_pg(volume / cells, is_diatom=CARBON[kinds[name]]))

    return carbon


def carbon_pg(volume_um3: float, *, is_diatom: bool) -> float:
    """The carbon of one cell in picograms, from its volume in cubic micrometers.

    Source: Menden-Deuer and Lessard (2000), Limnology and Oceanography 45, 569-579: 0.288 V^0.811 for diatoms, with
    log10 C = -0.933 + 0.881 log10 V for those above 3,000 cubic micrometers, and log10 C = -0.665 + 0.939 log10 V (that
    is 0.216 V^0.939) for other protists. The formulas are for single cells of protists: not for animals, and for a
    chain only cell by cell.
    """
    if volume_um3 <= 0:
        return 0.0
    if is_diatom and volume_um3 > LARGE_DIATOM_UM3:
        return float(10**-0.933 * volume_um3**0.881)
    return float(0.288 * volume_um3**0.811 if is_diatom else 10**-0.665 * volume_um3**0.939)
