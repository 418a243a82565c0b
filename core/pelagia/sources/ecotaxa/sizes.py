"""Sizes of pixels and volumes of samples in EcoTaxa tables, whose columns do not name their units.

Invariant: a unit is taken from a document, never guessed. A value whose unit is not known keeps its own column, and the
listing says so.

Sources: Picheral & Mériguet (2025), "Description of the metadata and data issued from Zooprocess and UVPapp
applications", doi:10.5281/zenodo.14704251 (ZooScan, UVP5: millimeters; total volume of a net: cubic meters); EcoTaxa's
``BO/ProjectVarsDefault.py`` (``tot_vol`` in cubic meters); EcoPart's form of a sample (``acq_pixel`` of the UVP6:
micrometers); the PlanktoScope's documentation of the segmentation (``process_pixel``: micrometers a pixel).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from pelagia.sources.ecotaxa.numbers import is_unknown, number_of

PIXEL_COLUMNS = (
    "process_particle_pixel_size_mm",
    "acq_pixel_um",
    "acq_pixel_um_size",
    "process_pixel",
    "acq_pixel",
    "acq_resolution_pixel_per_micron",
)
"""Columns with the size of a pixel. The first that has a usable number counts."""

_AMBIGUOUS = ("process_pixel", "acq_pixel")
_MICROMETERS = {"pixel_size_um": 1, "pixel_size_mm": 1000}

VOLUME_COLUMNS = {
    "sample_tot_vol": "cubic metre",
    "sample_initial_col_vol_m3": "cubic metre",
    "acq_volume_sampled": "millilitre",
}
"""Column -> unit of the volume of water that the sample stands for. The first column that has a number counts."""

_IN_MILLIMETERS = ("uvp5", "zooscan")
_SMALLEST_UM, _LARGEST_UM = 0.05, 2000.0
"""No instrument has smaller or larger pixels: a light microscope does not resolve them, or no animal is seen."""

_NO_VOLUME = 999999.0
"""EcoTaxa leaves this volume out of its computations: ``not_lots_of_nines``."""


def pixel_size(row: Mapping[str, str], warn: Callable[[str], None]) -> tuple[str, str, str] | None:
    """The size of a pixel of a row.

    Args:
        row: values by lower-case column.
        warn: called with a sentence for a size that is not used.

    Returns:
        Pelagia's column (``pixel_size_mm`` or ``pixel_size_um``), its value, and the column that it comes from; or None
        if no size is known.
    """
    found = list(_pixel_sizes(row, warn))
    if not found:
        return None
    _, _, name, micrometers = found[0]
    for _, _, other, value in found[1:]:
        if not 0.99 < value / micrometers < 1.01:
            warn(
                f"the columns {name} and {other} have different pixel sizes ({micrometers:g} and {value:g} "
                f"micrometers): {name} is used"
            )
    return found[0][:3]


def _pixel_sizes(row: Mapping[str, str], warn: Callable[[str], None]) -> Iterator[tuple[str, str, str, float]]:
    for name in PIXEL_COLUMNS:
        text = row.get(name, "")
        number = number_of(text)
        if not number or is_unknown(text) or float(number) <= 0:
            continue
        if name == "acq_resolution_pixel_per_micron":
            number, column = f"{1 / float(number):.6g}", "pixel_size_um"
        else:
            column = _column_of(name, float(number), row.get("acq_instrument", ""), warn)
        if column:
            yield column, number, name, float(number) * _MICROMETERS[column]


def _column_of(name: str, value: float, instrument: str, warn: Callable[[str], None]) -> str:
    """Pelagia's column for a pixel size; empty if its unit is not known. Only one unit may be possible for a value."""
    possible = [column for column, unit in _MICROMETERS.items() if _SMALLEST_UM <= value * unit <= _LARGEST_UM]
    documented = _documented(name, instrument)
    if documented in possible or (not documented and len(possible) == 1):
        return documented or possible[0]
    if name in _AMBIGUOUS and len(possible) == 1:
        unit = "millimeters" if possible[0] == "pixel_size_mm" else "micrometers"
        warn(f"the column {name} has {value:g}, which is only possible in {unit}: it is read as {unit}")
        return possible[0]
    why = "cannot be the size of a pixel" if documented else "may be in micrometers or in millimeters"
    warn(
        f"the column {name} has {value:g}, which {why}: it is not used; write the size into a column "
        "process_particle_pixel_size_mm, or the instrument into acq_instrument"
    )
    return ""


def _documented(name: str, instrument: str) -> str:
    """Pelagia's column for the unit that a document gives; empty if it depends on an instrument that is not known."""
    if name.endswith("_mm"):
        return "pixel_size_mm"
    if name not in _AMBIGUOUS:
        return "pixel_size_um"
    if is_unknown(instrument):
        return ""
    return "pixel_size_mm" if instrument.strip().lower().startswith(_IN_MILLIMETERS) else "pixel_size_um"


def sample_size(row: Mapping[str, str], warn: Callable[[str], None]) -> tuple[str, str, str] | None:
    """The volume of a sample: value, unit as in Darwin Core, and the column that it comes from; None if not known.

    Args:
        row: values by lower-case column.
        warn: called with a sentence for a volume whose unit is not known.
    """
    for name, unit in VOLUME_COLUMNS.items():
        text = row.get(name, "")
        number = number_of(text)
        if not number or is_unknown(text) or float(number) == _NO_VOLUME:
            continue
        if name == "sample_tot_vol" and not _is_of_zooprocess(row):
            warn(
                f"the unit of sample_tot_vol is not known for the instrument '{row['acq_instrument'].strip()}': the "
                "volume keeps its column, and there is no sampleSizeValue"
            )
            continue
        return number, unit, name
    return None


def _is_of_zooprocess(row: Mapping[str, str]) -> bool:
    """Whether ZooProcess wrote the row of a net sample, or the row does not name its instrument."""
    instrument = row.get("acq_instrument", "")
    return (
        is_unknown(instrument)
        or instrument.strip().lower().startswith("zooscan")
        or "process_particle_pixel_size_mm" in row
    )
