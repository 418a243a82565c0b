"""How inputs are listed, and what was noticed meanwhile: things that are left out, and warnings.

Invariant: whatever a kind of input does not list as an image is counted in `Listing.left_out`, and whatever it had to
assume is in `Listing.warnings`. Every command shows both.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath

from pelagia.shell import command_line

LEFT_OUT = {
    "archive_inside": "archives inside a folder or an archive, not opened",
    "other_archive": "archives that Pelagia cannot open (.7z, .rar): unpack them, and name their folders",
    "unpacked": "archives whose unpacked folder is beside them, listed once",
    "folder_link": "links to folders, not followed; --follow-links follows them",
    "folder_link_again": "links to folders that are listed already or that contain the input, not followed",
    "no_file": "pipes and devices with the name of an image, not read",
    "no_image": "rows of an IFCB .adc without an image",
    "stitched": "IFCB images that overlap the image before them and were joined to it",
    "extracted": "images that were extracted from an IFCB bin beside them, listed once",
    "bin_without_name": "IFCB files whose name is not the name of a bin",
    "match_without_image": "matches of a pattern without an image: empty folders, or archives without images",
    "not_in_table": "images of an EcoTaxa export that its tables do not name",
    "no_file_name": "rows of an EcoTaxa table without the name of an image",
    "other_rank": "images of an EcoTaxa object beside that of the lowest img_rank; --all-ranks takes them",
    "flowcam_no_image": "rows of a FlowCam .lst without an image",
    "flowcam_mask": "masks of FlowCam collages",
    "flowcam_calibration": "calibration images of FlowCam runs",
    "flowcam_frame": "whole frames of a FlowCam's camera",
    "flowcam_unlisted": "images of FlowCam runs that no .lst names",
    "flowcam_second_list": "FlowCam lists of particles that another list in the folder has too",
    "flowcam_image": "images of FlowCam runs that are not those of single particles",
    "flowcam_in_archive": "masks, calibration images and frames of FlowCam runs in archives",
    "planktoscope_frame": "whole frames of a PlanktoScope",
    "planktoscope_folder": "folders of a PlanktoScope with pictures to check its segmenter",
    "zooscan_scan": "whole scans of a ZooScan",
    "zooscan_mask": "masks and outlines of a ZooScan",
    "zooscan_folder": "folders of a ZooScan project that do not hold its vignettes",
    "uvp6_sequence": "sequences of a UVP6, whose vignettes cannot be read",
    "uvp6_vignette": "vignettes in the UVP6's own format, which cannot be read",
    "pi10_background": "background images of a Pi-10",
}
"""Key of `Listing.left_out` -> what was left out, in words. `left_out_text` also knows the keys of `other_file`."""

OTHER_ARCHIVES = (".7z", ".rar")
_ARCHIVE = re.compile(r"\.(zip|tar|tgz|tbz2?|txz|(tar\.(gz|bz2|xz))|7z|rar)$", re.IGNORECASE)
_OTHER = "other_file:"
_MOST_ENDINGS = 50


def archive_ending(name: str) -> str:
    """The ending of the name of an archive, such as ``.tar.gz``, in the name's own case; empty for other names."""
    found = _ARCHIVE.search(name)
    return found[0] if found else ""


@dataclass(frozen=True, slots=True)
class ListingOptions:
    """What a person decides about the listing of inputs.

    Attributes:
        path_column: the column of a table that holds the paths of images; empty: the first known name of a column.
        follow_links: whether links to folders are followed.
        all_ranks: whether all images of an EcoTaxa object are listed, and not only the one of the lowest rank.
    """

    path_column: str = ""
    follow_links: bool = False
    all_ranks: bool = False


@dataclass
class Listing:
    """The options of a listing, and what was left out and noticed so far.

    Attributes:
        options: what a person decided.
        left_out: key of `LEFT_OUT`, or of `count_other_file` -> number of things that are not listed.
        warnings: a sentence for people -> how often it was said.
        archives: (number of parts of the path, ending) -> number of archives in folders, which are not opened.
        empty_samples: the columns of samples that were taken and have no image, such as IFCB bins of triggers alone.
    """

    options: ListingOptions = field(default_factory=ListingOptions)
    left_out: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)
    archives: Counter[tuple[int, str]] = field(default_factory=Counter)
    empty_samples: list[Mapping[str, str]] = field(default_factory=list)

    def warn(self, text: str) -> None:
        """Adds a warning: what was found, what was assumed, and the option that decides otherwise."""
        self.warnings[text] += 1

    def warning_texts(self) -> tuple[str, ...]:
        """The warnings, each once; with the number of times if there were several."""
        return tuple(text if count == 1 else f"{text} ({count} times)" for text, count in self.warnings.items())

    def count_archive(self, path: str) -> None:
        """Counts an archive inside a folder or an archive."""
        ending = archive_ending(path)
        if ending.lower() in OTHER_ARCHIVES:
            self.left_out["other_archive"] += 1
            return
        self.left_out["archive_inside"] += 1
        self.archives[len(PurePath(path).parts), ending] += 1

    def archive_patterns(self, root: PurePath) -> list[str]:
        """Patterns in quotes that match the archives counted so far below the folder ``root``, the most frequent first.

        For example ``'CRUISE/*/*.tar'``. There are two patterns at most.
        """
        own = len(root.parts)
        common = [place for place, _ in self.archives.most_common() if place[0] > own][:2]
        return [command_line(root.joinpath(*["*"] * (parts - own - 1), f"*{end}")) for parts, end in common]

    def count_other_file(self, name: str) -> None:
        """Counts a file that is neither an image nor a table, by the ending of its name."""
        key = f"{_OTHER}{PurePath(name).suffix.lower()}"
        if key not in self.left_out and len(self.left_out) >= _MOST_ENDINGS:
            key = f"{_OTHER}*"
        self.left_out[key] += 1


def left_out_text(key: str) -> str:
    """What a key of `Listing.left_out` means, in words that follow a number."""
    if not key.startswith(_OTHER):
        return LEFT_OUT[key]
    ending = key.removeprefix(_OTHER)
    if ending == "*":
        return "files with other endings, not images"
    return f"files that end in {ending}, not images" if ending else "files without an ending, not images"


def left_out_lines(left_out: Mapping[str, int], words: Mapping[str, str] = LEFT_OUT) -> list[str]:
    """What was left out, in words: one line for each reason, and one for all files that are not images.

    Args:
        left_out: as `Listing.left_out`.
        words: key -> words that follow a number. A key that is not in it is shown with spaces for underscores.
    """
    lines = [
        f"{count} {words.get(key, key.replace('_', ' '))}"
        for key, count in left_out.items()
        if not key.startswith(_OTHER)
    ]
    others = other_files_text(left_out)
    return [*lines, f"not images: {others}"] if others else lines


def other_files_text(left_out: Mapping[str, int]) -> str:
    """The files that are not images, by ending, such as ``3 .nef, 2 .mp4``; the most frequent come first."""
    found = {key.removeprefix(_OTHER): count for key, count in left_out.items() if key.startswith(_OTHER)}
    words = {"": "without an ending", "*": "with other endings"}
    ordered = sorted(found.items(), key=lambda entry: (entry[0] == "*", -entry[1], entry[0]))
    return ", ".join(f"{count} {words.get(ending, ending)}" for ending, count in ordered)
