"""Runs of a FlowCam, as VisualSpreadsheet stores them: a ``.lst``, collages of particles, a ``.ctx``, and other files.

Invariant: a particle has the name of its run and its number in the ``.lst``, such as ``201-045311_00017``. Its pixels
are cut from its collage and become a binary PGM or PPM file, so that `pelagia.images.preprocess.decode` stays the only
decoder. Masks, calibration images and whole frames of the camera are never images; a folder counts them. Measurements
of the particles are left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pelagia.errors import InputError
from pelagia.images.preprocess import ImageError
from pelagia.sources.flowcam.collage import Cut
from pelagia.sources.flowcam.lst import CONTEXT, SUFFIX, Particle, ParticleList, is_list
from pelagia.sources.flowcam.run_values import NO_SIZE, positive, run_columns
from pelagia.sources.image import Kind, SourceImage, failed, inside
from pelagia.sources.listing import Listing
from pelagia.sources.seen import Seen
from pelagia.system.files import printable

_TWO_SIZES = (
    "the calibration constant in the .lst of a FlowCam run differs from the one in its .ctx: the one in the .ctx is "
    "used for pixel_size_um"
)
_NO_END = (
    "the last line of a FlowCam .lst has no line end: if the list was cut short, particles are missing; compare the "
    "number of images with the number of particles in the summary"
)


def images(path: Path, listing: Listing) -> Iterator[SourceImage]:
    """The particles of a run.

    Args:
        path: its ``.lst``.

    Raises:
        InputError: the list cannot be read, or has no particle with an image.
    """
    try:
        particles = ParticleList(path)
    except OSError as error:
        raise InputError(f"cannot read {path}, which lists the particles of the run: {error.strerror}") from None
    except ImageError as error:
        raise InputError(f"{path}: {error}") from None
    found = False
    for image in _images(particles, listing):
        found = True
        yield image
    if not found:
        raise InputError(f"{path} lists no particle with an image: is the run complete?")


def images_or_fault(path: Path, listing: Listing) -> Iterator[SourceImage]:
    """As `images`, for a run in a folder: a list that cannot be read is a failed image, and it may be empty.

    Args:
        path: the ``.lst`` of the run, or the ``.ctx`` of a run without a list.
    """
    if path.name.lower().endswith(CONTEXT):
        fault = "a FlowCam run without its .lst, which lists its particles: copy the whole folder of the run"
        yield failed(printable(path.name), path, "missing", fault)
        return
    try:
        particles = ParticleList(path)
    except OSError as error:
        yield failed(printable(path.name), path, "unreadable", f"the FlowCam list cannot be read: {error.strerror}")
    except ImageError as error:
        yield failed(printable(path.name), path, error.reason, str(error))
    else:
        yield from _images(particles, listing)


def _images(particles: ParticleList, listing: Listing) -> Iterator[SourceImage]:
    run = _Run(particles.path, listing)
    seen = Seen()
    found, is_empty = False, True
    for particle in particles.particles():
        is_empty = is_empty and particle.is_empty
        if particle.is_empty:
            listing.left_out["flowcam_no_image"] += 1
        elif particle.fault:
            yield run.failed(particle.row, particle.fault)
        elif seen.add(name := f"{run.name}_{particle.number:05d}"):
            yield run.failed(particle.row, f"row {particle.row} of the .lst has the id {particle.number} a second time")
        else:
            found = True
            yield run.image(name, particle)
    if found and not particles.ends_with_line:
        listing.warn(_NO_END)
    if is_empty:
        listing.empty_samples.append(run.columns)


class _Run:
    """What the particles of a run share: its name, its columns, and the names of its collages."""

    def __init__(self, lst: Path, listing: Listing) -> None:
        self.name = printable(lst.name[: -len(SUFFIX)])
        self._lst, self._listing = lst, listing
        self.columns = run_columns(lst, listing)
        self._size = float(self.columns.get("pixel_size_um", "0"))
        self._warned: set[str] = set()
        self._names: dict[str, str] = {}
        with suppress(OSError):  # then each particle is a failed image
            for name in sorted(os.listdir(lst.parent)):
                self._names.setdefault(name.lower(), name)
        self._last, self._collage = "", lst

    def failed(self, row: int, fault: str) -> SourceImage:
        """A row that cannot be used."""
        return failed(f"{self.name}_row{row}", self._lst, "damaged", fault, self.columns)

    def image(self, name: str, particle: Particle) -> SourceImage:
        """A particle."""
        if particle.collage != self._last:
            self._last, self._collage = particle.collage, self._file(particle.collage)
        cut = Cut(self._collage, particle.x, particle.y, particle.width, particle.height)
        place = inside(self._lst.parent / printable(self._collage.name), name)
        return SourceImage(name, place, self.columns | self._own_columns(particle), cut)

    def _file(self, name: str) -> Path:
        """The file of a collage. The case of its name does not matter, as on the instrument's computer."""
        exact = self._lst.parent / name
        return exact if exact.exists() else self._lst.parent / self._names.get(name.lower(), name)

    def _own_columns(self, particle: Particle) -> dict[str, str]:
        """The columns of one particle: its id, its time, and its pixel size if the run has none."""
        own = {"particle_id": str(particle.number)}
        if timestamp := particle.values.get("timestamp", ""):
            own["timestamp"] = timestamp
        size = positive(particle.values.get("cal_const", ""))
        if not self._size and size:
            own["pixel_size_um"] = f"{size:g}"
        elif not self._size:
            self._warn_once(NO_SIZE)
        elif size and abs(size - self._size) > 0.01 * self._size:
            self._warn_once(_TWO_SIZES)
        return own

    def _warn_once(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            self._listing.warn(text)


def _claims(path: Path) -> bool:
    return path.name.lower().endswith(SUFFIX) and path.is_file() and is_list(path)


KIND = Kind(claims=_claims, images=images, label=lambda path: path.name[: -len(SUFFIX)], self_named=True)
