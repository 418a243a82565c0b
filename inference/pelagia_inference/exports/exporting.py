"""What a format gets to write: the rows of a survey with their names, the folder, and counts of what is left out.

Invariant: every format takes the name of an image from `Exporting.named`: the label that people confirmed, else what
the model accepted, else none. Rows are read one by one, so memory does not grow with the number of images.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from pydantic import BaseModel

from pelagia.config import load_config
from pelagia.errors import ConfigError, InputError
from pelagia.model.card import ModelCard
from pelagia.shell import command_line
from pelagia.survey.additions import Confirmed, confirmed_label
from pelagia.survey.journal import Prediction, Survey
from pelagia.survey.pictures import read_pictures
from pelagia.system.console import ProgressCallback
from pelagia.system.version import __version__
from pelagia.taxonomy import Taxon
from pelagia_inference.counts.counts import Counts, excluded_images
from pelagia_inference.counts.options import CountOptions
from pelagia_inference.counts.samples import Grouping, sample_name

Metadata = TypeVar("Metadata", bound=BaseModel)

FAILED = "images that could not be classified"
NO_PICTURE = "images whose file is missing or was changed"
"""Keys of `Exporting.left_out` that several formats use."""


@dataclass(frozen=True)
class ExportOptions(CountOptions):
    """What a user chooses for an export: how images are counted, and the following.

    Attributes:
        metadata: a YAML file with what the survey cannot know; None if there is none.
        people: whether the names of those who confirmed labels are exported.
        media_url: the address below which the images are, on the web or on a server; empty if they are not.
        part_bytes: the largest size of a zip; 0: the limit of the format.
        taxonomy: a taxonomy file to use instead of that of the model, in a Darwin Core Archive.
        absences: whether taxa of which a sample has no image are exported as absent, in a Darwin Core Archive.
        incomplete: whether to write a Darwin Core Archive although something that is required is missing.
    """

    metadata: Path | None = None
    people: bool = False
    media_url: str = ""
    part_bytes: int = 0
    taxonomy: Path | None = None
    absences: bool = False
    incomplete: bool = False


@dataclass(frozen=True, slots=True)
class Named:
    """A classified image, with the name that is exported.

    Attributes:
        row: its row in the survey.
        likeliest: the likeliest class.
        probability: its probability, 0..1.
        accepted: the class or taxon that the model accepted; empty if it accepted none.
        confirmed: the label of people; None if there is none.
    """

    row: Prediction
    likeliest: str
    probability: float
    accepted: str
    confirmed: Confirmed | None

    @property
    def name(self) -> str:
        """The class that people confirmed, else what the model accepted; empty if neither is there."""
        return self.accepted if self.confirmed is None else self.confirmed.class_name


@dataclass
class Exporting:
    """One export in one format.

    Attributes:
        survey: the open survey.
        folder: the folder to write into; it gets its name when everything is written.
        name: the name that the folder will have.
        options: what the user chose.
        progress: called with (rows done, total rows).
        left_out: what is left out, in words -> number.
    """

    survey: Survey
    folder: Path
    name: str
    options: ExportOptions = field(default_factory=ExportOptions)
    progress: ProgressCallback = lambda done, total: None
    left_out: Counter[str] = field(default_factory=Counter)

    def rows(self) -> Iterator[Prediction]:
        """All rows, sorted by path."""
        total = len(self.survey)
        for done, row in enumerate(self.survey, 1):
            if done % 256 == 0 or done == total:
                self.progress(done, total)
            yield row

    def classified(self) -> Iterator[Named]:
        """The classified images with their names, sorted by path. Others are counted as left out."""
        for row in self.rows():
            if self._takes_counting(row):
                yield self.named(row)

    def named(self, row: Prediction) -> Named:
        """The name of a classified image."""
        assert row.probabilities is not None  # noqa: S101 - the callers leave out failed images
        best = int(row.probabilities.argmax())
        likeliest, probability = self.survey.classes[best], float(row.probabilities[best])
        accepted = row.verdict.name if row.verdict.decision else likeliest
        return Named(row, likeliest, probability, accepted, confirmed_label(self.survey, row.path))

    def pictures(self) -> Iterator[tuple[Named, bytes]]:
        """The classified images with their encoded bytes, in any order. Those that cannot be read are counted."""
        total = len(self.survey)
        for done, (row, data) in enumerate(read_pictures(self.survey, self._ok()), 1):
            self.progress(done, total)
            if isinstance(data, bytes):
                yield self.named(row), data
            else:
                self.left_out[NO_PICTURE] += 1
        self.progress(total, total)

    def _ok(self) -> Iterator[Prediction]:
        return (row for row in self.survey if self._takes_counting(row))

    def _takes_counting(self, row: Prediction) -> bool:
        """The same as `takes`, and counts an image that is left out."""
        if not row.ok:
            self.left_out[FAILED] += 1
        elif row.path in self.excluded:
            self.left_out[f"images with a flag of --exclude-flags {','.join(self.options.exclude_flags)}"] += 1
        return self.takes(row)

    def takes(self, row: Prediction) -> bool:
        """Whether an image is exported: it was classified, and has none of the flags that the user excludes."""
        return row.ok and row.path not in self.excluded

    @cached_property
    def excluded(self) -> frozenset[str]:
        """The images with a flag that the user excludes. Raises InputError if no image has such a flag."""
        return excluded_images(self.survey, self.options.exclude_flags)

    @cached_property
    def counts(self) -> Counts:
        """The counts of the survey by sample, the same as those of `pelagia counts` with the same options."""
        return self.options.count(self.survey, self.progress)

    @cached_property
    def grouping(self) -> Grouping:
        """How the images are put into samples, which is that of the counts."""
        return self.options.grouping(self.survey)

    def sample_of(self, columns: Mapping[str, str]) -> str:
        """The name of the sample of an image with these columns."""
        return sample_name(self.grouping.key(columns))

    @cached_property
    def card(self) -> ModelCard | None:
        """The card of the model; None if the survey is older than such cards."""
        return self.options.card(self.survey)

    @cached_property
    def taxa(self) -> dict[str, Taxon]:
        """Class or taxon -> its taxon; a class that is no organism has none. Empty if the model has no taxa."""
        if self.card is None:
            return {}
        taxa = {taxon.name: taxon for taxon in self.card.taxonomy.taxa}
        return taxa | {entry.name: taxa[entry.taxon] for entry in self.card.taxonomy.classes if entry.taxon}

    @property
    def model_text(self) -> str:
        """The model for people: its name, if it is known, and the first digits of its SHA-256."""
        digest = self.survey.meta.get("model_sha256", "")[:12]
        return f"{self.card.name} ({digest})" if self.card else digest

    @property
    def program(self) -> str:
        """This program with its version."""
        return f"Pelagia {__version__}"

    def people(self, confirmed: Confirmed | None) -> str:
        """Who confirmed a label, joined by ``|``; empty unless the user wants names to be exported."""
        return confirmed.people if confirmed and self.options.people else ""

    def media(self, path: str) -> str:
        """The address of an image, or its path in the survey if no address was given."""
        base = self.options.media_url
        return base + ("" if base.endswith(("/", "=")) else "/") + quote(path) if base else path

    def metadata(self, schema: type[Metadata], format_name: str) -> Metadata:
        """What the user's YAML file says for a format: the value of the key ``format_name``, else the whole file.

        Raises:
            ConfigError: the file is wrong; the message lists all its faults.
        """
        if self.options.metadata is None:
            return schema()
        return load_config(self.options.metadata, schema, within=format_name)


def require(format_name: str, missing: Iterable[str]) -> None:
    """Raises ConfigError, which lists what is missing, unless nothing is."""
    faults = list(dict.fromkeys(missing))
    if faults:
        example = command_line("pelagia", "survey", "export", "SURVEY", "--to", format_name, "--metadata", "FILE.yaml")
        raise ConfigError(f"nothing was written, because {format_name} needs more ({example})", faults)


def nothing_to_export(work: Exporting) -> InputError:
    """The error for an export that would have nothing in it; the message says what was left out."""
    found = [f"{count} {reason}" for reason, count in (+work.left_out).items()]
    return InputError(f"there is nothing to export: {'; '.join(found) or 'the survey has no images'}")


def as_text(value: object) -> str:
    """A value as text: empty for None, at most ten significant digits of a number."""
    return "" if value is None else f"{value:.10g}" if isinstance(value, float) else str(value)
