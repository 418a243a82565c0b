"""IFCB ``.adc`` files: one row for each trigger or region of interest, numbers separated by commas, no header.

Invariant: the row number, from 1, is the target number, whatever is in the row; blank lines do not count. A row that
cannot be read becomes a `Roi` with a fault.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pelagia.images.preprocess import ImageError
from pelagia.sources.ifcb.bin_id import Style
from pelagia.sources.image import MAX_BYTES

LONGEST = 1 << 26
_LAST_BYTE = 1 << 62


@dataclass(frozen=True, slots=True)
class AdcColumns:
    """The index of each value in a row, from 0; -1 for a value that the style does not have."""

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


STYLE_I = AdcColumns(trigger=0, x=9, y=10, width=11, height=12, offset=13, trigger_open=7, frame_grab=8)
STYLE_D = AdcColumns(trigger=0, x=13, y=14, width=15, height=16, offset=17, adc_time=1, run_time=22, inhibit_time=23)
COLUMNS_OF: dict[Style, AdcColumns] = {"I": STYLE_I, "D": STYLE_D}


@dataclass(frozen=True, slots=True)
class Roi:
    """A region of interest: one image.

    Attributes:
        target: the number of the image in the bin, from 1.
        trigger: the number of the trigger; one trigger may give several images.
        x, y, width, height: the rectangle of the image in the view of the camera, in pixels.
        offset: the place of its first byte in the ``.roi``.
        fault: what is wrong with the row; empty if nothing is. In a row with a fault, the other values are meaningless.
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
        """Whether it is a trigger without an image."""
        return not self.fault and (self.width == 0 or self.height == 0)


class Adc:
    """The rows of one ``.adc``.

    Args:
        data: the bytes of the file, at most `LONGEST` and one more.

    Raises:
        ImageError: it is too large for an ``.adc``.
    """

    def __init__(self, data: bytes, style: Style) -> None:
        self.columns = COLUMNS_OF[style]
        if len(data) > LONGEST:
            raise ImageError("too_large", f"more than {LONGEST} bytes")
        self._rows = [line.decode("ascii", "replace") for line in data.splitlines() if line.strip()]

    def __len__(self) -> int:
        return len(self._rows)

    def rois(self) -> Iterator[Roi]:
        """Yields one region of interest for each row, in order of the target number."""
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
        """Values of these columns: float64, rows x columns. Rows without a finite number in each are left out."""
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
        """Whether the rows have the times that the sampled volume is computed from."""
        return bool(self._rows) and self._rows[0].count(",") >= max(self.columns.inhibit_time, self.columns.frame_grab)


def _whole(text: str) -> int:
    """A whole number, also written as 3.0."""
    try:
        number = float(text)
        if number.is_integer():
            return int(number)
    except ValueError:
        pass
    raise ValueError(f"{text.strip()[:20]!r} is not a whole number")
