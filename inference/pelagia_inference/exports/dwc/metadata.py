"""What people say about a dataset that is published: a small YAML file."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from pelagia.config import Strict, load_config, yaml_word
from pelagia.errors import InputError
from pelagia.survey.additions import confirmed_rows
from pelagia.survey.journal import Survey
from pelagia.system.files import slug, write_text

LICENSES = {
    "CC0-1.0": (
        "http://creativecommons.org/publicdomain/zero/1.0/legalcode",
        "Creative Commons CCZero (CC0) 1.0",
    ),
    "CC-BY-4.0": (
        "http://creativecommons.org/licenses/by/4.0/legalcode",
        "Creative Commons Attribution (CC-BY) 4.0",
    ),
    "CC-BY-NC-4.0": (
        "http://creativecommons.org/licenses/by-nc/4.0/legalcode",
        "Creative Commons Attribution Non Commercial (CC-BY-NC) 4.0",
    ),
}
"""The licenses that GBIF takes: name -> address and title."""

_TEMPLATE = """\
# What is published about this dataset. The archive needs the keys that say "required".

# a short name of letters, digits, dots and hyphens: every eventID begins with it (required)
id: {id}
# (required)
title: ""
# who made the dataset (required)
creators:
  - family_name: ""
    given_name: ""
    organization: ""
    email: ""
    orcid: ""
# CC0-1.0, CC-BY-4.0 or CC-BY-NC-4.0: GBIF takes no other (required)
license: ""
# a few sentences: what was sampled, where, why
abstract: ""
keywords: []

# the cruise, if the survey has no column "cruise"
cruise: ""
# how the samples were taken: a text, or the address of a protocol
sampling_protocol: ""
# ifcb, flowcam, zooscan, uvp6, planktoscope or another name, if the survey has no column "instrument"
instrument: ""
# the system of the positions; that of GPS is EPSG:4326
geodetic_datum: EPSG:4326
# how far the true position may be from the given one, in meters; null: not known
coordinate_uncertainty_m: null
# a citation or DOI of the model, if it was published
model_reference: ""
# who confirmed labels: the name in the survey, and the name to publish in identifiedBy; "" publishes none. Nobody
# else is named, unless the command has --people
people: {people}
"""


class Person(Strict):
    """A person or an organization that made the dataset."""

    family_name: str = ""
    given_name: str = ""
    organization: str = ""
    email: str = ""
    orcid: str = ""

    @property
    def named(self) -> bool:
        """Whether it has a name."""
        return bool(self.family_name.strip() or self.organization.strip())


class DatasetMetadata(Strict):
    """The file. An empty text is a value that is not known."""

    id: str = Field(default="survey", pattern=r"^[A-Za-z0-9._-]+$")
    title: str = ""
    creators: tuple[Person, ...] = ()
    license: str = Field(default="", pattern=rf"^({'|'.join(LICENSES)})?$".replace(".", r"\."))
    abstract: str = ""
    keywords: tuple[str, ...] = ()
    cruise: str = ""
    sampling_protocol: str = ""
    instrument: str = ""
    geodetic_datum: str = "EPSG:4326"
    coordinate_uncertainty_m: float | None = Field(default=None, gt=0)
    model_reference: str = ""
    people: dict[str, str] = {}

    def published(self, name: str, everyone: bool = False) -> str:
        """The name to publish for a person of the survey; empty if none may be published.

        Args:
            name: the name in the survey.
            everyone: whether a person who is not in the file is published with this name.
        """
        return self.people.get(name, name if everyone else "").strip()


def load_metadata(path: Path | None, survey: Survey) -> DatasetMetadata:
    """The metadata of a file; without a file, what is known of any dataset.

    The file may have the keys below a key ``dwc``, beside those of other formats. If there is no file at ``path``, a
    template is written there, so that a person can fill it in.

    Args:
        path: the YAML file, or None.
        survey: the open survey. The template takes the name of its folder as the ``id``, and has a line for each person
            who confirmed labels.

    Raises:
        InputError: there was no file, and now there is a template.
        ConfigError: the file is wrong; the message lists all its faults.
    """
    name = slug(survey.folder.absolute().name)
    if path is None:
        return DatasetMetadata(id=name)
    if not path.exists():
        write_text(path, _TEMPLATE.format(id=yaml_word(name), people=_people_of(survey)))
        raise InputError(
            f"there was no {path}, so a template was written there: fill it in, then run the command again"
        )
    return load_config(path, DatasetMetadata, within="dwc")


def _people_of(survey: Survey) -> str:
    """The lines of the template for the people who confirmed labels."""
    labels = confirmed_rows(survey)
    people = sorted({name for label in labels for part in label.people.split("|") if (name := part.strip())})
    lines = [f"\n  {yaml_word(name)}: {yaml_word('' if '@' in name else name)}" for name in people]
    return "".join(lines) or "{}"
