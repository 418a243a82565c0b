"""The samples of a survey: the images that belong together, and what their columns say about the sample.

Invariant: a sample is what the named columns say, and nothing is guessed: a column of a sample has a value only if all
its images have the same value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pelagia.errors import InputError, did_you_mean

SAMPLE_COLUMNS = ("sample", "eventID", "station", "locationID")
"""The columns that may name a sample. The first that a survey has is used if no columns are named."""


@dataclass(frozen=True)
class Sample:
    """A sample of a survey.

    Attributes:
        name: the values of the columns that name it, joined by ``/``; "all images" if no column names samples.
        key: these values.
        columns: the columns of the input that have one value in all images of the sample, with this value.
        images: number of images that were classified.
        failed: number of images that could not be classified.
        volume_l: the analyzed volume in liters; None: unknown.
        fraction: the part of the sample that was analyzed, above 0 and at most 1; 1 if nothing says otherwise.
    """

    name: str
    key: tuple[str, ...]
    columns: Mapping[str, str] = field(default_factory=dict)
    images: int = 0
    failed: int = 0
    volume_l: float | None = None
    fraction: float = 1.0


def sample_columns(own: Sequence[str], by: Sequence[str] = ()) -> tuple[str, ...]:
    """The columns that name the samples; empty if there is none, and the survey is one sample.

    Args:
        own: the columns of the survey's input.
        by: the columns that the user named.

    Raises:
        InputError: the survey lacks a named column.
    """
    for name in by:
        if name not in own:
            has = ", ".join(own) or "none"
            raise InputError(f"--by: the survey has no column '{name}'{did_you_mean(name, own)}; its columns: {has}")
    return tuple(by) or next(((name,) for name in SAMPLE_COLUMNS if name in own), ())


def sample_name(key: Sequence[str]) -> str:
    """The name of a sample with these values."""
    return "/".join(key) or "all images"
