"""IFCB ``.adc`` files: one row a trigger or region of interest, comma-separated numbers, no header.

Invariant: the row number, from 1, is the target number, whatever the row holds; blank lines are no rows. A row that
cannot be read is a row with a fault.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pelagia.images.preprocess import ImageError
from pelagia.sources.image import MAX_BYTES, read_at

_LONGEST = 1 << 26
_LAST_BYTE = 1 << 62


@dataclass(frozen=True, slots=True)
class AdcColumns:
    """Where in a row the values stand, from 0. A column that the form lacks is -1."""

    trigger: int
    x: int
    y: int
    width: int
    height: int
    offset: int
    trigger_open: int = -1
    frame_grab: int = -1
    adc_time: int = -1
    run_time: int = -1
    inhibit_time: int = -1


OLD = AdcColumns(trigger=0, x=9, y=10, width=11, height=12, offset=13, trigger_open=7, frame_grab=8)
CURRENT = AdcColumns(trigger=0, x=13, y=14, width=15, height=16, offset=17, adc_time=1, run_time=22, inhibit_time=23)


@dataclass(frozen=True, slots=True)
class Roi:
    """A region of interest: target number, where it lay in the camera's view, and its bytes in the ``.roi``.

    ``fault`` says what is wrong with the row; the other values are then meaningless.
    """

    target: int
    trigger: int = 0
    x: int = 0
    y: int = 0
    width: int = 0
    height: int = 0
    offset: int = 0
    fault: str = ""

    @property
    def is_empty(self) -> bool:
        """A trigger without an image."""
        return not self.fault and (self.width == 0 or self.height == 0)


class Adc:
    """The rows of one ``.adc``. Raises OSError, and ImageError where it is too large to be one."""

    def __init__(self, path: Path, old: bool) -> None:
        self.columns = OLD if old else CURRENT
        data = read_at(path, 0, _LONGEST + 1)
        if len(data) > _LONGEST:
            raise ImageError("too_large", f"more than {_LONGEST} bytes")
        self._rows = [line.decode("ascii", "replace") for line in data.splitlines() if line.strip()]

    def __len__(self) -> int:
        return len(self._rows)

    def rois(self) -> Iterator[Roi]:
        """One for each row, by target number."""
        for target, row in enumerate(self._rows, start=1):
            yield self._roi(target, row.split(","))

    def _roi(self, target: int, values: Sequence[str]) -> Roi:
        columns = self.columns
        places = (columns.trigger, columns.x, columns.y, columns.width, columns.height, columns.offset)
        if len(values) <= columns.offset:
            return Roi(target, fault=f"row {target} of the .adc has {len(values)} values: it is cut short")
        try:
            trigger, x, y, width, height, offset = (_whole(values[place]) for place in places)
        except ValueError as error:
            return Roi(target, fault=f"row {target} of the .adc: {error}")
        roi = Roi(target, trigger, x, y, width, height, offset)
        if roi.is_empty:
            return roi
        if width < 0 or height < 0 or offset < 0:
            return Roi(target, fault=f"row {target} of the .adc: {width} x {height} pixels at byte {offset}")
        if width * height > MAX_BYTES or offset > _LAST_BYTE:
            return Roi(target, fault=f"row {target} of the .adc: {width} x {height} pixels at byte {offset}")
        return roi

    def numbers(self, *columns: int) -> NDArray[np.float64]:
        """Values of some columns, rows x columns; rows that lack one of them as a finite number are left out."""
        found = []
        for row in self._rows:
            values = row.split(",")
            try:
                numbers = [float(values[column]) for column in columns]
            except (ValueError, IndexError):
                continue
            found.append(numbers)
        table = np.array(found, np.float64).reshape(-1, len(columns))
        return table[np.isfinite(table).all(axis=1)]

    @property
    def is_wide(self) -> bool:
        """The rows go on to the times that the sampled volume is computed from."""
        return bool(self._rows) and self._rows[0].count(",") >= max(self.columns.inhibit_time, self.columns.frame_grab)


def _whole(text: str) -> int:
    """A whole number, also written as 3.0."""
    try:
        number = float(text)
        if number.is_integer():
            return int(number)
    except ValueError:
        pass
    raise ValueError(f"{text.strip()[:20]!r} is no whole number")
