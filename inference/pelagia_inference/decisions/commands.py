"""The commands `pelagia decide`, `explain`, `compare` and `tracks`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pelagia.options import needs
from pelagia.system import console

SurveyFolder = Annotated[Path, typer.Argument(metavar="SURVEY", help="A folder that `pelagia classify` made.")]
Model = Annotated[
    Path | None,
    typer.Option(metavar="MODEL.onnx", help="The model of the survey; only for surveys that keep nothing of it."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def decide(
    survey: SurveyFolder,
    policy: Annotated[
        str,
        typer.Option(
            metavar="[conservative|balanced|everything]",
            help="balanced: the rule of the model itself. conservative: a fifth of its errors. everything: each image "
            "gets its likeliest class.",
        ),
    ] = "balanced",
    class_thresholds: Annotated[
        list[str] | None,
        typer.Option("--class", metavar="CLASS=P", help="Another threshold of a class, 0 to 1, or never; repeatable."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.csv|FILE.parquet", help="The table to make. Without it, none is made.")
    ] = None,
    model: Model = None,
    as_json: Json = False,
) -> None:
    """Decide again what each image of a survey shows, with another rule and without the network.

    The survey is not changed. Without --out, only what would change is printed.

    \b
    pelagia decide survey --policy conservative
    pelagia decide survey --policy everything --out everything.csv
    pelagia decide survey --class copepod=0.8 --class detritus=never --out decided.csv
    """
    from pelagia.survey.journal import Survey
    from pelagia.survey.model_card import require_card
    from pelagia_inference.decisions import shown
    from pelagia_inference.decisions.decide import decide as decide_again
    from pelagia_inference.decisions.policies import parse_overrides, policy_of

    overrides = parse_overrides(class_thresholds or [])
    with Survey.open(survey) as opened, console.progress_bar("deciding") as update:
        card = require_card(opened, model)
        chosen = policy_of(card, policy, overrides)
        done = decide_again(opened, card, chosen, out, update)
    if as_json:
        console.say(json.dumps(shown.decided_as_json(chosen, done)))
    else:
        shown.decided(chosen, done)


def explain(
    survey: SurveyFolder,
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="Its path in the results, or the end of the path.")],
    out: Annotated[Path | None, typer.Option(metavar="PAGE.html", help="A page to make, with the pictures.")] = None,
    references: Annotated[
        Path | None,
        typer.Option(metavar="FILE.parquet", help="Embeddings of labeled images, made with the model of the survey."),
    ] = None,
    dataset: Annotated[
        Path | None,
        typer.Option(
            metavar="DATASET", help="Their dataset, which has their labels and pictures; its train split is used."
        ),
    ] = None,
    model: Model = None,
) -> None:
    """Print why a survey says what it says of one image: probabilities, taxa, the rule, flags, similar images.

    \b
    pelagia explain survey images/0123.png
    pelagia explain survey 0123.png --out 0123.html --references train.parquet --dataset datasets/one

    The references come from `pelagia embed datasets/one --model model.onnx --out train.parquet`. The survey needs
    embeddings as well: `pelagia classify ... --embeddings`.
    """
    from pelagia.dataset.schema import Dataset
    from pelagia.embeddings import read_embeddings
    from pelagia.survey.journal import Survey
    from pelagia.survey.model_card import card_of_survey, require_card
    from pelagia.system.files import require_new_file, write_text
    from pelagia_inference.decisions import shown
    from pelagia_inference.decisions.explain import explain as explain_image

    if out is not None:
        needs("report", "explain --out")
        require_new_file(out, "page", ".html", ".htm")
    known = read_embeddings(references) if references else None
    labeled = Dataset.read(dataset) if dataset else None
    with Survey.open(survey) as opened:
        card = require_card(opened, model) if model else card_of_survey(opened)
        found = explain_image(opened, image, card, known, labeled)
    if out is None:
        shown.explanation(found)
    else:
        from pelagia_inference.decisions.page import page_of

        write_text(out, page_of(found, survey.absolute().name, "" if card is None else card.name))
        console.say(f"written: {out}")


def compare(
    survey_a: Annotated[Path, typer.Argument(metavar="SURVEY_A", help="A folder that `pelagia classify` made.")],
    survey_b: Annotated[Path, typer.Argument(metavar="SURVEY_B", help="Another one, of the same images.")],
    by: Annotated[
        str,
        typer.Option(metavar="COLUMN,...", help="Columns of A that name the samples; default: sample, station."),
    ] = "",
    first: Annotated[int, typer.Option(min=0, help="How many images to list to look at first.")] = 10,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="A table of all images with another answer.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare two surveys of the same images: changed answers, agreement, composition, what to look at.

    Images are the same if their SHA-256 is; classes are the same if their names are.

    \b
    pelagia compare survey-old survey-new
    pelagia compare survey-old survey-new --by station --out changed.csv
    """
    from pelagia.survey.journal import Survey
    from pelagia_inference.decisions import shown
    from pelagia_inference.decisions.compare import compare as compare_surveys

    columns = [name.strip() for name in by.split(",") if name.strip()]
    with Survey.open(survey_a) as a, Survey.open(survey_b) as b:
        found = compare_surveys(a, b, by=columns, first=first, out=out)
    if as_json:
        console.say(json.dumps(shown.comparison_as_json(found)))
    else:
        shown.comparison(found)


def tracks(
    survey: SurveyFolder,
    by_track: Annotated[str, typer.Option(metavar="COLUMN", help="The column of the input that names the tracks.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="The table to make: one row for each track.")
    ] = None,
    model: Model = None,
    as_json: Json = False,
) -> None:
    """Answer once for each animal: combine the images of a track, an event or another sequence.

    The probabilities of a track are the mean log-probabilities of its images. A model that was trained on a dataset
    with --group-column COLUMN knows how much several images of a track count; else a track is as sure as its mean
    image.

    \b
    pelagia tracks survey --by-track track
    pelagia tracks survey --by-track eventID --out tracks.csv
    """
    from pelagia.survey.journal import Survey
    from pelagia.survey.model_card import card_of_survey, require_card
    from pelagia_inference.decisions import shown
    from pelagia_inference.decisions.tracks import write_tracks

    with Survey.open(survey) as opened, console.progress_bar("combining") as update:
        card = require_card(opened, model) if model else card_of_survey(opened)
        found = write_tracks(opened, by_track, out, card, update)
    if as_json:
        console.say(json.dumps(shown.tracks_as_json(found, out)))
    else:
        shown.tracks(found, out)
