"""How much water the images of a sample stand for.

Invariant: a volume, a unit or a fraction that is missing, unknown or contradictory gives no concentration, and a reason
in words. It is never guessed.

    organisms in the sample = sum over its sub-samples of (images x organisms per image)
    concentration           = organisms in the sample / volume of water

An image stands for ``acq_sub_part`` organisms if 1 part of so many was imaged. This is what EcoTaxa computes: the
sub-sampling coefficient is ``1/sub_part``, and the counts of the acquisitions of a sample, each divided by its
coefficient, are added up before they are divided by ``tot_vol`` (github.com/ecotaxa/ecotaxa_back,
``py/BO/ProjectVarsDefault.py`` and its Darwin Core export). For a PlanktoScope it is
``sample_dilution_factor x sample_concentrated_sample_volume / acq_imaged_volume``, as the PlanktoScope's own charts do.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from pelagia.tables.values import is_missing, number

VALUE, UNIT = "sampleSizeValue", "sampleSizeUnit"
SUB_PART, FRACTION, DILUTION = "acq_sub_part", "subsample_fraction", "dilution"
IMAGED, CONCENTRATED = "acq_imaged_volume", "sample_concentrated_sample_volume"
PLANKTOSCOPE_DILUTION = "sample_dilution_factor"
EFFORT_COLUMNS = (
    VALUE,
    UNIT,
    SUB_PART,
    FRACTION,
    DILUTION,
    "instrument",
    IMAGED,
    CONCENTRATED,
    PLANKTOSCOPE_DILUTION,
)
"""The columns that say how much water an image stands for."""

_PARTS_OF_A_NET = (SUB_PART, FRACTION, IMAGED)

LITERS = {"microlitre": 1e-6, "millilitre": 1e-3, "litre": 1.0, "cubic metre": 1e3}
"""Unit, as Darwin Core names it -> liters."""
_SPELLINGS = {
    "microlitre": ("microliter", "microlitres", "microliters", "ul", "µl", "μl"),
    "millilitre": ("milliliter", "millilitres", "milliliters", "ml", "cm3", "cm^3", "cm³", "cc"),
    "litre": ("liter", "litres", "liters", "l", "dm3", "dm^3", "dm³"),
    "cubic metre": ("cubic meter", "cubic metres", "cubic meters", "m3", "m^3", "m³"),
}
_UNITS = {name: unit for unit, names in _SPELLINGS.items() for name in (unit, *names)}
_RATIO = re.compile(r"\s*([0-9]+)\s*/\s*([0-9]+)\s*", re.ASCII)
_THOUSANDS = re.compile(r"[1-9][0-9]{0,2},[0-9]{3}", re.ASCII)  # 1,000: with a decimal comma, or one of thousands?
_PLAUSIBLE_LITERS = (1e-9, 1e12)
_MOST_ORGANISMS = 1e9


@dataclass(frozen=True)
class Effort:
    """How much water the images of a sub-sample stand for.

    Attributes:
        volume: the volume as it is stated: number and unit, a key of `LITERS`; None if it is not known.
        per_image: organisms that an image stands for, at least 1; None if it is not known.
        fault: why one of them is not known, in words; empty if both are.
        assumed: what was assumed, in words; mostly empty.
    """

    volume: tuple[float, str] | None = None
    per_image: float | None = 1.0
    fault: str = ""
    assumed: str = ""

    @property
    def liters(self) -> float | None:
        """The volume in liters."""
        return None if self.volume is None else self.volume[0] * LITERS[self.volume[1]]


class _Fault(Exception):  # noqa: N818 - it is a reason, and never leaves this module
    pass


def effort_of(columns: Mapping[str, str]) -> Effort:
    """How much water an image with these columns stands for."""
    volume, per_image, fault = None, None, ""
    try:
        per_image = _plausible(_per_image(columns))
        volume = _volume(columns)
    except _Fault as reason:
        fault = str(reason)
    assumed = ""
    if volume and _THOUSANDS.fullmatch(text := columns[VALUE].strip()):
        assumed = (
            f"the volume '{text}' was read with a decimal comma, as {volume[0]:g}: if the comma separates thousands, "
            f"write the number without it (column {VALUE})"
        )
    elif volume and volume[1] == "cubic metre" and not any(_stated(columns, name) for name in _PARTS_OF_A_NET):
        assumed = (
            f"their volume is in cubic metres, and no column {SUB_PART} or {FRACTION} says which part of the sample "
            "was imaged: all of it, it was assumed"
        )
    return Effort(volume, per_image, fault, assumed)


def _volume(columns: Mapping[str, str]) -> tuple[float, str]:
    text, unit = columns.get(VALUE, "").strip(), columns.get(UNIT, "").strip()
    if is_missing(text):
        raise _Fault(f"no volume (column {VALUE})")
    value = number(text)
    if value is None or value <= 0:
        raise _Fault(f"the volume '{text}' is not a number above 0 (column {VALUE})")
    if is_missing(unit):
        raise _Fault(f"the volume has no unit (column {UNIT}: {', '.join(LITERS)})")
    if (name := _UNITS.get(unit.lower())) is None:
        raise _Fault(f"the unit '{unit}' is not known (column {UNIT}: {', '.join(LITERS)})")
    if not _PLAUSIBLE_LITERS[0] <= value * LITERS[name] <= _PLAUSIBLE_LITERS[1]:
        raise _Fault(f"a volume of '{text} {unit}' is not plausible (columns {VALUE} and {UNIT})")
    return value, name


def _plausible(per_image: float) -> float:
    """The same number, if an image can stand for so many organisms."""
    if per_image < 0.999:
        raise _Fault(
            f"more was imaged than there was: an image would stand for {per_image:.3g} organisms (columns {IMAGED}, "
            f"{CONCENTRATED} and {PLANKTOSCOPE_DILUTION})"
        )
    if per_image > _MOST_ORGANISMS:
        raise _Fault(
            f"an image would stand for {per_image:.3g} organisms, which is not plausible (columns {SUB_PART}, "
            f"{FRACTION}, {DILUTION} and those of a PlanktoScope)"
        )
    return per_image


def _per_image(columns: Mapping[str, str]) -> float:
    """The organisms of the water that an image stands for."""
    dilution = _at_least_1(columns, DILUTION, "2 for one part of sample and one part of water")
    if columns.get("instrument", "").lower().startswith("planktoscope") or _stated(columns, IMAGED):
        return _of_planktoscope(columns, dilution)
    sub_part = _at_least_1(columns, SUB_PART, "4 for a quarter")
    fraction = _fraction(columns)
    if sub_part and fraction and abs(sub_part * fraction - 1) > 0.01:
        raise _Fault(f"{SUB_PART} {sub_part:g} and {FRACTION} {fraction:g} contradict each other")
    return (dilution or 1.0) * (sub_part or (1 / fraction if fraction else 1.0))


def _of_planktoscope(columns: Mapping[str, str], dilution: float | None) -> float:
    imaged, concentrated = (_positive(columns, name) for name in (IMAGED, CONCENTRATED))
    if imaged is None or concentrated is None:
        raise _Fault(f"a PlanktoScope needs the columns {IMAGED} and {CONCENTRATED} in milliliters")
    own = _positive(columns, PLANKTOSCOPE_DILUTION)
    if own and dilution and abs(own / dilution - 1) > 0.01:
        raise _Fault(f"{DILUTION} {dilution:g} and {PLANKTOSCOPE_DILUTION} {own:g} contradict each other")
    factor = concentrated / imaged * (own or dilution or 1.0)
    if sub_part := _at_least_1(columns, SUB_PART, "4 for a quarter"):
        factor *= sub_part
    return factor


def _fraction(columns: Mapping[str, str]) -> float | None:
    """The part of the sample that was imaged: ``0.125`` or ``1/8``."""
    text = columns.get(FRACTION, "").strip()
    if is_missing(text):
        return None
    ratio = _RATIO.fullmatch(text)
    value = int(ratio[1]) / (int(ratio[2]) or math.inf) if ratio else number(text)
    if value is None or not 0 < value <= 1:
        raise _Fault(f"the fraction '{text}' is not above 0 and at most 1 (column {FRACTION}: 0.125 or 1/8)")
    return value


def _at_least_1(columns: Mapping[str, str], name: str, example: str) -> float | None:
    text = columns.get(name, "").strip()
    if is_missing(text):
        return None
    value = number(text)
    if value is None or value < 1:
        raise _Fault(f"'{text}' is not a number of 1 or more (column {name}: {example})")
    return value


def _positive(columns: Mapping[str, str], name: str) -> float | None:
    text = columns.get(name, "").strip()
    if is_missing(text):
        return None
    value = number(text)
    if value is None or value <= 0:
        raise _Fault(f"'{text}' is not a number above 0 (column {name})")
    return value


def _stated(columns: Mapping[str, str], name: str) -> bool:
    return not is_missing(columns.get(name, ""))
