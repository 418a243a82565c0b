"""`pelagia survey confirm`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pelagia.system import console

SurveyPath = Annotated[Path, typer.Argument(metavar="SURVEY", help="A folder that `pelagia classify` made.")]


def confirm(
    survey: SurveyPath,
    labels: Annotated[
        Path, typer.Argument(metavar="DATASET|CSV", help="A dataset, or a table with class and path or sha256.")
    ],
    people: Annotated[str, typer.Option(help="Who gave the labels, where the table does not say it.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be confirmed.")] = False,
) -> None:
    """Add labels of people to a survey. `pelagia counts` counts these images apart, and never corrects them.

    Images are matched by their SHA-256, else by their path.

    \b
    pelagia survey confirm survey dataset        a dataset that `pelagia label pull` made
    pelagia survey confirm survey labels.csv     path,class,people
    """
    from pelagia.survey.journal import Survey
    from pelagia_inference.survey.confirm import confirm as add
    from pelagia_inference.survey.confirm import read_labels

    given = read_labels(labels, people)
    with Survey.open(survey, to_add=not dry_run) as opened:
        result = add(opened, given, dry_run=dry_run)
    console.counts_table(result.by_class, ("class", "would be confirmed" if dry_run else "confirmed"))
    for line in result.lines():
        console.say(line)
