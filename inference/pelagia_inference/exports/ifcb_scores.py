"""Class scores of IFCB bins, which the IFCB Dashboard and pyifcb read: one file for each bin.

``{bin}_class.h5`` is version 3 of the form that WHOI's classifier writes (``neuston_callbacks.py`` of
WHOIGit/ifcb_classifier) and that pyifcb reads (``ifcb/data/products/class_scores.py``):

    output_scores    float32, images x classes; WHOI writes float16
    class_labels     the names of the classes; pyifcb reads ASCII only
    roi_numbers      uint16, or uint32 if a number needs it: the number of each image in its bin
    output_classes   uint16: the number of the likeliest class, from 0
    metadata         attributes version ("v3"), model_id, timestamp, bin_id

``{bin}_class_scores.csv`` has the column ``pid``, the name of the image, and one column for each class.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from pelagia.errors import InputError, first_few
from pelagia.sources.ifcb import bin_of_extracted
from pelagia.sources.ifcb.bin_id import parse_bin_id
from pelagia.system.tables import write_table
from pelagia_inference.exports.exporting import Exporting

_NO_BIN = "images that are not of an IFCB bin"
_AGAIN = "images of a bin that the survey has a second time: its first folder, by path, is exported"


def write(work: Exporting) -> list[str]:
    """Writes ``{bin}_class.h5`` for each bin.

    Raises:
        InputError: the survey has no image of a bin.
    """
    import h5py

    labels, notes = _ascii(work.survey.classes)
    bins = 0
    for name, numbers, scores in _bins(work, "_class.h5"):
        with h5py.File(work.folder / f"{name}_class.h5", "x") as file:
            metadata = file.create_dataset("metadata", data=h5py.Empty("f"))
            metadata.attrs["version"] = "v3"
            metadata.attrs["model_id"] = work.model_text
            metadata.attrs["timestamp"] = work.survey.meta.get("created", "")
            metadata.attrs["bin_id"] = name
            kind = "uint16" if numbers.max() < 1 << 16 else "uint32"
            file.create_dataset("roi_numbers", data=numbers.astype(kind), compression="gzip")
            file.create_dataset("output_scores", data=scores, compression="gzip")
            file.create_dataset("output_classes", data=scores.argmax(axis=1).astype("uint16"), compression="gzip")
            file.create_dataset("class_labels", data=labels, dtype=h5py.string_dtype("ascii"), compression="gzip")
        bins += 1
    return [*_said(bins), *notes]


def write_csv(work: Exporting) -> list[str]:
    """Writes ``{bin}_class_scores.csv`` for each bin.

    Raises:
        InputError: the survey has no image of a bin.
    """
    bins = 0
    for name, numbers, scores in _bins(work, "_class_scores.csv"):
        id_of = parse_bin_id(name)
        assert id_of is not None  # noqa: S101 - `_bin_of` parsed it
        lines = (
            [id_of.target(number), *(f"{value:.6f}" for value in values)]
            for number, values in zip(numbers.tolist(), scores.tolist(), strict=True)
        )
        write_table(work.folder / f"{name}_class_scores.csv", ["pid", *work.survey.classes], lines)
        bins += 1
    return _said(bins)


def _said(bins: int) -> list[str]:
    if not bins:
        raise InputError(
            "the survey has no image of an IFCB bin: the names of such images end like D20220519T124533_IFCB134_00012"
        )
    return [f"bins: {bins}; the scores are those of the model, also where people confirmed another label"]


def _bins(work: Exporting, ending: str) -> Iterator[tuple[str, NDArray[np.int64], NDArray[np.float32]]]:
    """Name, numbers of the images and scores (images x classes) of each bin, sorted by number.

    The images of one bin follow each other in the survey.
    """
    for (_, name), group in groupby(work.classified(), lambda named: _place_of(named.row.path)):
        if not name or (work.folder / f"{name}{ending}").exists():
            work.left_out[_AGAIN if name else _NO_BIN] += sum(1 for _ in group)
            continue
        rows = [(_bin_of(named.row.path)[1], named.row.probabilities) for named in group]
        rows.sort(key=lambda row: row[0])
        scores = np.stack([found for _, found in rows if found is not None]).astype(np.float32)
        yield name, np.array([number for number, _ in rows]), scores


def _place_of(path: str) -> tuple[str, str]:
    """The folder and the bin of an image."""
    return path.rpartition("/")[0], _bin_of(path)[0]


def _bin_of(path: str) -> tuple[str, int]:
    """The bin of an image and the number of the image in it; an empty name if it is not of a bin."""
    last = PurePosixPath(path).name
    name, _, number = last.rpartition("_")
    if number.isdecimal() and _is_bin(name):
        return name, int(number)
    if name := bin_of_extracted(last):
        return name, int(PurePosixPath(last).stem.rpartition("_")[2])
    return "", 0


@lru_cache(1 << 10)
def _is_bin(name: str) -> bool:
    return parse_bin_id(name) is not None


def _ascii(classes: Sequence[str]) -> tuple[list[str], list[str]]:
    """The names of the classes in ASCII, each another one; and a sentence if names were changed."""
    found: list[str] = []
    for name in classes:
        plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode() or "class"
        free, number = plain, 2
        while free in found or (free != name and free in classes):
            free, number = f"{plain}_{number}", number + 1
        found.append(free)
    changed = [f"{old} -> {new}" for old, new in zip(classes, found, strict=True) if old != new]
    return found, [f"class labels are ASCII in this format: {first_few(changed)}"] if changed else []
