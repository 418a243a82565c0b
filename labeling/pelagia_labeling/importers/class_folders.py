"""Class folders: each folder directly below the source is a class, and its name is the class name."""

from __future__ import annotations

from pathlib import Path

from pelagia.dataset.write import Candidate
from pelagia.errors import DatasetError
from pelagia.sources import list_images
from pelagia.system.files import printable
from pelagia_labeling.importers.imported import Import


def from_class_folders(src: Path) -> Import:
    """The images below ``src``; an image in a deeper folder gets the class of the class folder that contains it.

    Left out and counted: images outside every class folder (``no_class``), and images inside an instrument's file
    (``inside_a_bin``).

    Raises:
        DatasetError: no image is in a class folder.
    """
    candidates = []
    outside = inside_bin = 0
    for image in list_images([src]):
        class_name, slash, _ = image.path.partition("/")
        if not isinstance(image.file, Path):
            inside_bin += 1
        elif not slash:
            outside += 1
        else:
            candidates.append(Candidate(image.file, class_name, image.path))
    if not candidates:
        raise DatasetError(
            f"{src} holds {outside} images and no class folder: put the images of each class into a folder with the "
            "name of the class, or give the labels with --manifest"
        )
    source = {"kind": "class_folders", "folder": printable(src.name)}
    left_out = {"no_class": outside, "inside_a_bin": inside_bin}
    return Import(candidates, source, left_out={reason: count for reason, count in left_out.items() if count})
