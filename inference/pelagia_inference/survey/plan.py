"""Prepares a run: chooses the model, provider and setting, and checks that they fit the survey folder.

Invariant: a survey is resumed with the provider, batch size and threads that it was started with, and with the same
images; anything else is refused before a row is written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from pelagia.errors import SurveyError
from pelagia.images.preprocess import ImageError
from pelagia.model.card import card_of_model
from pelagia.model.metadata import ModelFile
from pelagia.sources import Listing, ListingOptions, list_images
from pelagia.survey.journal import Survey
from pelagia.system.files import sha256_of
from pelagia_inference.machine.providers import AUTO, CPU, choose_provider
from pelagia_inference.machine.setting import Setting, complete_setting, stored_setting
from pelagia_inference.machine.verify import verify

_IMAGES_COMPARED_AT_ONCE = 256


@dataclass(frozen=True)
class SurveyPlan:
    """One run: its images, folder, model, provider and setting, and its warnings."""

    model: ModelFile
    inputs: tuple[Path, ...]
    out: Path
    provider: str
    setting: Setting
    warnings: tuple[str, ...] = ()
    listing: ListingOptions = ListingOptions()

    @property
    def facts(self) -> dict[str, object]:
        """The facts about the run that the log records."""
        model = f"{self.model.metadata.name} {self.model.sha256[:12]}"
        return {"model": model, "provider": self.provider, "setting": self.setting}

    @property
    def _origin(self) -> str:
        return json.dumps([str(path.absolute()) for path in self.inputs])

    def require_images(self) -> None:
        """Raises InputError if an input does not exist or holds no image, before a survey is made for it."""
        for path in self.inputs:
            next(list_images([path], Listing(self.listing)), None)
        next(list_images(self.inputs, Listing(self.listing)), None)

    def open_survey(self) -> Survey:
        """The survey of this run, to write to. Raises SurveyError if the folder holds something else, or is in use."""
        names = [path.absolute().name for path in self.inputs]
        setting = self.setting
        settings = {"inputs": names, "batch": setting.batch, "threads": setting.threads, "provider": self.provider}
        listing = {name: value for name, value in asdict(self.listing).items() if value}  # only what is not the default
        return Survey.open_for_writing(
            self.out,
            model_sha256=self.model.sha256,
            classes=self.model.metadata.classes,
            settings=settings | ({"listing": listing} if listing else {}),
            origin=self._origin,
            decides=self.model.metadata.decider.decides,
            model=card_of_model(self.model).model_dump_json(),
        )

    def require_same_images(self, survey: Survey) -> None:
        """Refuses other images that have the names of images in the survey, for example those of the next memory card.

        Compares the content of the first image that is in both. If the inputs are in another folder than the first
        time, there must be such an image.

        Raises:
            SurveyError: the images are different.
        """
        if not survey.counts_by_class():
            return
        images = list_images(self.inputs, Listing(self.listing))
        while batch := list(islice(images, _IMAGES_COMPARED_AT_ONCE)):
            known = survey.hashes([image.path for image in batch])
            for image in batch:
                if image.path not in known:
                    continue
                try:
                    found = sha256_of(image.read())
                except (OSError, ImageError):
                    continue
                if found != known[image.path]:
                    raise SurveyError(
                        f"{image.path} has the name of an image in the survey {survey.folder} but is another image: "
                        "choose a new --out folder for these images"
                    )
                return
        if survey.meta.get("origin") != self._origin:
            raise SurveyError(
                f"the survey {survey.folder} was made from other images ({survey.meta.get('origin')}) and holds none "
                "of these: choose a new --out folder"
            )


def plan_survey(
    model: ModelFile,
    inputs: Sequence[Path],
    out: Path,
    setting: Setting | None,
    provider: str,
    note: Callable[[str], None],
    listing: ListingOptions = ListingOptions(),
) -> SurveyPlan:
    """Chooses the provider and the setting of a run; the arguments are those of `classify`.

    Raises:
        InputError, ModelError: as `choose_provider`.
        SurveyError: the survey in ``out`` was started with another provider.
    """
    warnings: list[str] = []

    def warn(text: str) -> None:
        warnings.append(text)
        note(text)

    before = _settings_of(out)
    provider = _provider(out, model, before.get("provider", ""), provider, warn)
    known = [Setting(0, before.get("threads", 0), before.get("batch", 0))]
    if provider == CPU and (stored := stored_setting(model.sha256)):
        known.append(stored)
    setting = complete_setting(setting or Setting(0, 0, 0), provider, known)
    return SurveyPlan(model, tuple(inputs), out, provider, setting, tuple(warnings), listing)


def _settings_of(out: Path) -> Mapping[str, Any]:
    """The settings that the survey in ``out`` was started with; empty if there is no survey."""
    try:
        with Survey.open(out) as survey:
            found: dict[str, Any] = json.loads(survey.meta["settings"])
            return found
    except SurveyError:  # no survey yet, or one that cannot be read; opening it to write reports the fault
        return {}


def _provider(out: Path, model: ModelFile, before: str, wanted: str, note: Callable[[str], None]) -> str:
    if before and wanted not in (AUTO, before):
        raise SurveyError(
            f"the survey {out} was started with the provider {before}, but this run names {wanted}: leave --provider "
            "out, or choose a new --out folder"
        )

    def check(name: str) -> None:
        if name != CPU:  # the workers find out whether the CPU works
            verify(model, name)

    return choose_provider(before or wanted, check, note)
