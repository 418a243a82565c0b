"""What was run, the flags of the samples, failures, and what to label next."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence

from pelagia.errors import first_few
from pelagia.model.card import ModelCard
from pelagia.model.held_out import out_of_fold_of
from pelagia.pages.page import Cell, Table, count_cell
from pelagia.shell import command_line
from pelagia.survey.additions import image_flags, sample_flags
from pelagia.survey.journal import Survey
from pelagia.survey.pictures import inputs_of
from pelagia.system.version import __version__
from pelagia_inference.counts.samples import Sample
from pelagia_inference.report.gather import Gathered

_MOST_INPUTS = 5
_MOST_ROWS = 300


def what_was_run(survey: Survey, card: ModelCard | None) -> list[tuple[str, str]]:
    """Facts on the survey, its inputs and its model. Folders are named without the way to them."""
    inputs = [path.name or str(path) for path in inputs_of(survey)]
    more = f" and {len(inputs) - _MOST_INPUTS} more" if len(inputs) > _MOST_INPUTS else ""
    facts = [
        ("Survey", survey.folder.resolve().name),
        ("Images from", ", ".join(inputs[:_MOST_INPUTS]) + more),
        ("Made", survey.meta.get("created", "")),
        ("Classified by", f"pelagia {survey.meta.get('pelagia', '')}".strip()),
        ("Settings", _settings(survey)),
        ("Model", card.name if card else "the survey does not keep its name: give the file with --model"),
        ("Model's SHA-256", survey.meta.get("model_sha256", "")[:12]),
    ]
    if card:
        measured = out_of_fold_of(card.dataset)
        metrics = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in card.metrics.items())
        facts += [
            ("Exported", f"{card.created}, pelagia {card.pelagia_version}"),
            ("License", card.licence),
            ("Trained on", _dataset(card)),
            ("Metrics of the export", metrics),
            ("Measured on", measured.text if measured else ""),
            ("Rule", _rule(card)),
        ]
    return [(name, value) for name, value in (*facts, ("Page made by", f"pelagia {__version__}")) if value]


def _settings(survey: Survey) -> str:
    try:
        settings = json.loads(survey.meta.get("settings") or "{}")
    except ValueError:
        return ""
    return ", ".join(f"{name} {value}" for name, value in settings.items() if isinstance(value, str | int | float))


def _dataset(card: ModelCard) -> str:
    parts = [str(card.dataset.get("name", "")), str(card.dataset.get("fingerprint", ""))[:12]]
    return ", ".join(part for part in parts if part)


def _rule(card: ModelCard) -> str:
    if card.decision.rule == "argmax":
        return "every image gets its likeliest class"
    target = card.decision.target_precision
    aim = f", chosen for a precision of {target:.0%}" if target else ""
    return f"a class or taxon is accepted if its probability reaches its threshold{aim}"


def was_checked(survey: Survey) -> bool:
    """Whether `pelagia check` was run on the survey."""
    return survey.has_table("sample_flags")


def flag_tables(survey: Survey, images: int) -> tuple[Table, int, Table]:
    """The flags of samples, those with the same details together; how many of them are not shown; images by flag."""
    names: dict[tuple[str, str], list[str]] = defaultdict(list)
    for flag in sample_flags(survey):
        names[flag.flag.replace("_", " "), flag.detail].append(flag.on)
    samples = [
        [Cell(flag), Cell(f"{len(on)}"), Cell(first_few(on)), Cell(detail)]
        for (flag, detail), on in sorted(names.items(), key=lambda one: (-len(one[1]), one[0][0], one[1]))
    ]
    counts = Counter(flag.flag for flag in image_flags(survey))
    rows = [
        [Cell(name.replace("_", " ")), count_cell(count), Cell(f"{count / max(images, 1):.1%}", count)]
        for name, count in counts.most_common()
    ]
    flagged = Table(("Flag", "Samples", "Which", "Details"), samples[:_MOST_ROWS])
    return flagged, len(samples) - len(flagged.rows), Table(("Flag", "Images", "Share"), rows)


def failures(survey: Survey, data: Gathered) -> tuple[Table, Table]:
    """The number of failed images by reason, and the first of them."""
    counts = survey.counts_by_reason()
    reasons = [[Cell(name.replace("_", " ")), count_cell(count)] for name, count in counts.most_common()]
    first = [[Cell(row.path), Cell(row.reason.replace("_", " ")), Cell(row.message)] for row in data.failed]
    return Table(("Reason", "Images"), reasons), Table(("Image", "Reason", "Details"), first)


def samples_without_volume(samples: Sequence[Sample]) -> int:
    """The number of samples with images whose volume is not known."""
    return sum(sample.images > 0 and sample.volume_l is None for sample in samples)


def commands_for_labels(survey: Survey) -> list[tuple[str, str]]:
    """What to type to label images of this survey: what it does, and the command."""
    folder = survey.folder
    review = ("pelagia", "label", "review", folder, "--project", "TITLE", "--taxonomy", "TAXONOMY.yaml")
    select = ("pelagia", "label", "select", folder, "--budget", 300, "--out", "next.csv")
    random = ("pelagia", "label", "select", folder, "--budget", 300, "--strategy", "random", "--out", "random.csv")
    return [
        *([("Check the images that the model did not accept", command_line(*review))] if survey.decides else []),
        ("Choose 300 images that improve the next model most", command_line(*select)),
        ("Choose 300 images at random, to measure the model on this survey", command_line(*random)),
    ]
