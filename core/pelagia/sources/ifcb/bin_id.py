"""Names of IFCB bins: what they say of when and by which instrument, and which form of ``.adc`` goes with them.

Current: ``D20220519T124533_IFCB134``. Old: ``IFCB5_2012_028_081515`` (instrument, year, day of the year, time).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

_CURRENT = re.compile(r"D(\d{8}T\d{6})_IFCB(\d{1,6})", re.ASCII)
_OLD = re.compile(r"IFCB(\d{1,6})_(\d{4}_\d{3}_\d{6})", re.ASCII)


@dataclass(frozen=True, slots=True)
class BinId:
    """A bin's name, read.

    Attributes:
        old: it has the old form of name and ``.adc``.
        start: when sampling began, UTC; None where the digits are no time.
    """

    name: str
    instrument: int
    old: bool
    start: datetime | None

    def target(self, number: int) -> str:
        """What the IFCB community calls one image: ``D20220519T124533_IFCB134_00002``."""
        return f"{self.name}_{number:05d}"


def parse_bin_id(name: str) -> BinId | None:
    """A bin's name, or None where it is none."""
    if found := _CURRENT.fullmatch(name):
        return BinId(name, int(found[2]), False, _time(found[1], "%Y%m%dT%H%M%S"))
    if found := _OLD.fullmatch(name):
        return BinId(name, int(found[1]), True, _time(found[2], "%Y_%j_%H%M%S"))
    return None


def _time(text: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(text, form).replace(tzinfo=UTC)
    except ValueError:
        return None
