"""FlowCam ``.lst`` files: the particles of a run, and the rectangle of each in its collage.

The first line is the version of the format, such as ``017``, the second ``num-fields|N``. N lines ``name|type`` follow,
then one line for each particle with N values separated by ``|``. Lists of older versions have no names, and separate
their values by colons; they are refused. Sources: the readers of FlowCam lists in MorphoCut (``integration.flowcam``)
and in ZooImage (``readFlowCAMlst``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pelagia.images.preprocess import ImageError

SUFFIX, CONTEXT = ".lst", ".ctx"
"""Endings of the list and of the context of a run, in lower case."""
_LONGEST_LINE = 1 << 16
_MOST_FIELDS = 1000
_VERSION = re.compile(r"[0-9]{3}")
_FIELDS = re.compile(r"num-fields\|([0-9]{1,6})")
_RECTANGLE = ("image_x", "image_y", "image_w", "image_h")
_NEEDED = ("collage_file", *_RECTANGLE)
_WHOLE = re.compile(r"-?[0-9]{1,9}")
EXPORT = "export the particles as single images with VisualSpreadsheet, and name the folder of these images"


@dataclass(frozen=True, slots=True)
class Particle:
    """One row of a list.

    Attributes:
        row: the number of the row, from 1.
        number: the particle's ``id`` in the list; the number of the row if the list has no ``id``.
        collage: the name of the collage, without folders.
        x, y, width, height: the rectangle of the particle in the collage, in pixels.
        values: all values of the row, by the name of their field.
        fault: what is wrong with the row; empty if nothing is. Then only ``row`` has a meaning.
    """

    row: int
    number: int = 0
    collage: str = ""
    x: int = 0
    y: int = 0
    width: int = 0
    height: int = 0
    values: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether it is a row without an image."""
        return not self.fault and (self.width == 0 or self.height == 0)


class ParticleList:
    """The header of a list, which is read at once, and its rows, which are read one by one.

    Raises:
        OSError: the file cannot be read.
        ImageError: it is not a list of a version that can be read, or its header is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ends_with_line = True
        """Whether the last line ends with a line end, known after the last row: if not, the list may be cut short."""
        with path.open("rb") as file:
            self.version, self.fields = _header(file)
            self._start = file.tell()
        missing = [name for name in _NEEDED if name not in self.fields]
        if missing:
            raise ImageError(
                "unsupported", f"a FlowCam list of version {self.version} without the field {missing[0]}: {EXPORT}"
            )

    def particles(self) -> Iterator[Particle]:
        """Yields one particle for each row; a row that cannot be read is a particle with a fault."""
        with self.path.open("rb") as file:
            file.seek(self._start)
            row = 0
            for line, ended in _lines(file):
                self.ends_with_line = ended
                if line.strip():
                    row += 1
                    yield self._particle(row, line.split("|"))

    def collages(self) -> Iterator[str]:
        """Yields the name of a collage each time that it changes from one row to the next."""
        place = self.fields.index("collage_file")
        last = ""
        with self.path.open("rb") as file:
            file.seek(self._start)
            for line, _ in _lines(file):
                cells = line.split("|", place + 1)
                if len(cells) > place and cells[place] != last:
                    last = cells[place]
                    yield _last_part(last)

    def _particle(self, row: int, cells: list[str]) -> Particle:
        if len(cells) != len(self.fields):
            what = "it is cut short" if len(cells) < len(self.fields) else "a value has the sign |"
            return Particle(
                row, fault=f"row {row} of the .lst has {len(cells)} values, the header has {len(self.fields)}: {what}"
            )
        values = dict(zip(self.fields, (cell.strip() for cell in cells), strict=True))
        collage = _last_part(values["collage_file"])
        for name in _RECTANGLE:
            if not _WHOLE.fullmatch(values[name]):
                return Particle(row, fault=f"row {row} of the .lst: {name} is {values[name][:20]!r}, not a number")
        if not collage or "\0" in collage:
            return Particle(row, fault=f"row {row} of the .lst names no collage")
        number = values.get("id", str(row))
        if not _WHOLE.fullmatch(number):
            return Particle(row, fault=f"row {row} of the .lst: id is {number[:20]!r}, not a number")
        x, y, width, height = (int(values[name]) for name in _RECTANGLE)
        if width < 0 or height < 0 or x < 0 or y < 0:
            return Particle(row, fault=f"row {row} of the .lst: {width} x {height} pixels at {x}, {y}")
        return Particle(row, int(number), collage, x, y, width, height, values)


def _last_part(name: str) -> str:
    return re.split(r"[/\\]", name.strip())[-1]


def is_list(path: Path) -> bool:
    """Whether a file starts as a FlowCam list of any version; False for other files that end in ``.lst``."""
    try:
        with path.open("rb") as file:
            start = file.read(256)
    except OSError:
        return False
    first, _, rest = start.removeprefix(b"\xef\xbb\xbf").partition(b"\n")
    version = _VERSION.fullmatch(first.decode("latin-1").strip()) is not None
    return version and (rest.startswith(b"num-fields|") or rest.count(b":") > rest.count(b"|"))


def _header(file: BinaryIO) -> tuple[str, tuple[str, ...]]:
    """The version and the names of the fields in lower case; the file is then at its first row."""
    version = _line(file).removeprefix("\ufeff")
    if not _VERSION.fullmatch(version):
        raise ImageError("damaged", "not a FlowCam list: its first line is not a version such as 017")
    found = _FIELDS.fullmatch(_line(file))
    if not found:
        raise ImageError(
            "unsupported",
            f"a FlowCam list of version {version} without names of fields; lists with 'num-fields' in their second line"
            f" can be read: {EXPORT}",
        )
    count = int(found[1])
    names = tuple(_line(file).partition("|")[0].strip().lower() for _ in range(min(count, _MOST_FIELDS)))
    if count > _MOST_FIELDS or not all(names) or len(set(names)) < count:
        raise ImageError("damaged", f"a FlowCam list whose header does not name its {count} fields: copy it again")
    return version, names


def _line(file: BinaryIO) -> str:
    return _text(file.readline(_LONGEST_LINE)).strip()


def _lines(file: BinaryIO) -> Iterator[tuple[str, bool]]:
    """Each line without its end, and whether it has an end."""
    while line := file.readline(_LONGEST_LINE):
        yield _text(line).rstrip("\r\n"), line.endswith(b"\n")


def _text(line: bytes) -> str:
    """UTF-8; what is not UTF-8 is Windows-1252, which VisualSpreadsheet's computers use."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("cp1252", "replace")
