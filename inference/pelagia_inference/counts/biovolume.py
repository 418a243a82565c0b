"""Carbon of the organisms of a survey, from their volumes and the taxa of their classes.

Invariant: carbon is given only where a published formula holds: for diatoms and for other single-celled plankton. The
taxonomy of the model decides which it is, or the column ``carbon`` of the table of cells. Animals, radiolarians and
foraminifers get no carbon.

The formulas are those of Menden-Deuer and Lessard (2000); `pelagia_inference.checks.shape` has them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec

from pelagia.taxonomy import Taxonomy
from pelagia_inference.counts.cells import CARBON, CellTable
from pelagia_inference.counts.taxa import lineage_of

_DIATOMS = frozenset(
    {"bacillariophyta", "bacillariophyceae", "bacillariophytina", "coscinodiscophyceae", "mediophyceae"}
)
_PROTISTS = frozenset(
    {"ciliophora", "dinoflagellata", "dinophyceae", "haptophyta", "cryptophyta", "euglenozoa", "chlorophyta"}
)
_OTHER = frozenset({"animalia", "metazoa", "rhizaria", "radiozoa", "radiolaria", "foraminifera"})


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
    if not kinds or find_spec("pelagia_inference.checks") is None:
        return lambda name, volume, cells: None
    carbon_pg = import_module("pelagia_inference.checks.shape").carbon_pg

    def carbon(name: str, volume: float, cells: float) -> float | None:
        if name not in kinds or cells <= 0:
            return None
        return float(cells * carbon_pg(volume / cells, is_diatom=CARBON[kinds[name]]))

    return carbon
