"""Single image files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pelagia.sources.flowcam.in_folders import is_part_of_run
from pelagia.sources.flowcam.lst import SUFFIX
from pelagia.sources.image import Kind, SourceImage, failed, is_image_name
from pelagia.sources.listing import Listing
from pelagia.system.files import printable


def images(file: Path, _: Listing) -> Iterator[SourceImage]:
    """The image ``file``; a failed image if it is a collage, a mask or another image of a FlowCam run."""
    if is_part_of_run(file):
        yield failed(
            printable(file.name), file, "unsupported", f"an image of a FlowCam run: name the {SUFFIX} of the run"
        )
    else:
        yield SourceImage(printable(file.name), file)


def _claims(path: Path) -> bool:
    return is_image_name(path.name) and path.is_file()


KIND = Kind(claims=_claims, images=images, label=lambda path: path.name, self_named=True)
