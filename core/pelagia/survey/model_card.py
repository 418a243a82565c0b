"""Reads the card of the model that made a survey."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from pelagia.errors import InputError, SurveyError
from pelagia.model.card import ModelCard, card_of_model
from pelagia.model.metadata import ModelFile
from pelagia.survey.journal import Survey


def card_of_survey(survey: Survey) -> ModelCard | None:
    """The card that a survey keeps; None if an older version made the survey. Raises SurveyError if it is damaged."""
    if not (text := survey.meta.get("model")):
        return None
    try:
        return ModelCard.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole card"
        raise SurveyError(
            f"what the survey {survey.folder} keeps of its model cannot be read ({place}: {first['msg']}): update "
            "Pelagia, or name the model with --model"
        ) from None


def names_of_model(survey: Survey) -> set[str]:
    """The classes of the survey's model, and its taxa if the survey keeps them. Errors: those of `card_of_survey`."""
    card = card_of_survey(survey)
    return {*survey.classes, *((taxon.name for taxon in card.taxonomy.taxa) if card else ())}


def require_card(survey: Survey, model: Path | None = None) -> ModelCard:
    """The card of the survey's model: that of the file ``model`` if one is named, else the one that the survey keeps.

    Raises:
        InputError: the file is another model than that of the survey.
        ModelError: the file cannot be read.
        SurveyError: no file is named, and the survey keeps no card.
    """
    if model is None:
        if card := card_of_survey(survey):
            return card
        raise SurveyError(
            f"the survey {survey.folder} was made by an older version, which kept nothing of its model: name the model "
            "with --model MODEL.onnx"
        )
    file = ModelFile.read(model)
    if file.sha256 != survey.meta.get("model_sha256"):
        raise InputError(
            f"{model} is not the model of the survey {survey.folder} (SHA-256 {file.sha256[:12]}, the survey's is "
            f"{survey.meta.get('model_sha256', '')[:12]}): name the model that made it"
        )
    return card_of_model(file)
