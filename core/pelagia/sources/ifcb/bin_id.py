"""Names of IFCB bins. A name holds the instrument and the time, and shows the style of the bin's ``.adc``.

There are two styles, named as in WHOI's libraries. Current instruments write style D, for example
``D20220519T124533_IFCB134``. Older instruments wrote style I, for example ``IFCB5_2012_028_081515`` (instrument, year,
day of the year, time).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

_STYLE_D = re.compile(r"D(\d{8}T\d{6})_IFCB(\d{1,6})", re.ASCII)
_STYLE_I = re.compile(r"IFCB(\d{1,6})_(\d{4}_\d{3}_\d{6})", re.ASCII)

Style = Literal["D", "I"]


@dataclass(frozen=True, slots=True)
class BinId:
    """The name of a bin, split into its parts.

    Attributes:
        name: the complete name of the bin.
        instrument: the number of the instrument.
        style: the style of the name and of the ``.adc``.
        start: the time when sampling started, UTC; None if the digits are not a time.
    """

    name: str
    instrument: int
    style: Style
    start: datetime | None

    def target(self, number: int) -> str:
        """The usual name of image ``number`` of the bin, such as ``D20220519T124533_IFCB134_00002``."""
        return f"{self.name}_{number:05d}"


def parse_bin_id(name: str) -> BinId | None:
    """The name of a bin, or None if ``name`` is not the name of a bin."""
    if found := _STYLE_D.fullmatch(name):
        return BinId(name, int(found[2]), "D", _time(found[1], "%Y%m%dT%H%M%S"))
    if found := _STYLE_I.fullmatch(name):
        return BinId(name, int(found[1]), "I", _time(found[2], "%Y_%j_%H%M%S"))
    return None


def _time(text: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(text, form).replace(tzinfo=UTC)
    except ValueError:
        return None
