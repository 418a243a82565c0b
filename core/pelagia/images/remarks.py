"""What can be remarkable about an image that was decoded: the only list of remarks.

Invariant: a remark is a fixed text, so a survey counts its images by remark. It is the ``message`` of a row that is ok.
"""

from __future__ import annotations

from dataclasses import dataclass, field

PAGES = "the file has several pages or frames; only the first is read"
LARGER_PAGE = "the file has several pages; the first is read, and a later page is larger"
SECOND_CHANNEL = "the image has two channels; only the first is read"
NO_END = "the JPEG has no end mark; its pixels are complete"
WRONG_MAXIMUM = "pixels are above the maximum that the file states, so black to white is taken as 0 to 65535"

LOW_VALUES = {
    most: f"the pixels have 16 bits but no value above {most}; they are read as 0 to 65535, so the image is dark"
    for most in (4095, 16383)
}
"""Largest value of 12 and of 14 bits -> the remark on an image of 16 bits that has no larger value."""

REMARKS = (PAGES, LARGER_PAGE, SECOND_CHANNEL, NO_END, WRONG_MAXIMUM, *LOW_VALUES.values())

REMEDIES = {
    LOW_VALUES[4095]: "if the camera has 12 bits, state 4095 in the tag MaxSampleValue of the TIFFs, or save 8 bits",
    LOW_VALUES[16383]: "if the camera has 14 bits, state 16383 in the tag MaxSampleValue of the TIFFs, or save 8 bits",
    PAGES: "if the others count too, save each as a file of its own",
    LARGER_PAGE: "if the larger page is the image, save it as a file of its own",
    SECOND_CHANNEL: "if the other one is the image, save it as a file of its own",
}
"""Remark -> what to do about it."""

JOINED = "; and "
"""It joins the remarks on one image."""


def low_values(most: int) -> str:
    """The remark on an image of 16 bits whose largest value is ``most``; empty if there is none.

    A black image has no remark: no scale would change it.
    """
    return next((text for limit, text in LOW_VALUES.items() if 0 < most <= limit), "")


@dataclass
class RemarkCounts:
    """Counts images by remark.

    Attributes:
        counts: remark -> number of images.
        first: remark -> the name of one image that has it.
    """

    counts: dict[str, int] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, remarks: str, name: str = "", images: int = 1) -> None:
        """Counts images with the same remarks, one of which is called ``name``."""
        for remark in remarks.split(JOINED) if remarks else ():
            self.counts[remark] = self.counts.get(remark, 0) + images
            self.first.setdefault(remark, name)

    def warnings(self) -> list[str]:
        """One text for each remark: how many images have it, which is the first, and what to do."""
        texts = []
        for remark, count in self.counts.items():
            text = f"{count} image{'s' if count > 1 else ''}: {remark}"
            first = f" (the first is {self.first[remark]})" if self.first.get(remark) else ""
            remedy = f"; {REMEDIES[remark]}" if remark in REMEDIES else ""
            texts.append(f"{text}{first}{remedy}")
        return texts
