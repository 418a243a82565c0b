"""How inputs are listed, and what was noticed meanwhile: things that are left out, and warnings.

Invariant: whatever a kind of input does not list as an image is counted in `Listing.left_out`, and whatever it had to
assume is in `Listing.warnings`. Every command shows both.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import PurePath

LEFT_OUT = {
    "archive_inside": "archives inside a folder or an archive, not opened",
    "unpacked": "archives whose unpacked folder is beside them, listed once",
    "folder_link": "links to folders, not followed",
    "no_image": "rows of an IFCB .adc without an image",
    "stitched": "IFCB images that overlap the image before them and were joined to it",
    "bin_without_name": "IFCB files whose name is not the name of a bin",
    "not_in_table": "images of an EcoTaxa export that its tables do not name",
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

_OTHER = "other_file:"
_MOST_ENDINGS = 50


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
    """

    options: ListingOptions = field(default_factory=ListingOptions)
    left_out: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)

    def warn(self, text: str) -> None:
        """Adds a warning: what was found, what was assumed, and the option that decides otherwise."""
        self.warnings[text] += 1

    def warning_texts(self) -> tuple[str, ...]:
        """The warnings, each once; with the number of times if there were several."""
        return tuple(text if count == 1 else f"{text} ({count} times)" for text, count in self.warnings.items())

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
