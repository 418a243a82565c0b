"""Agreement as text, as JSON and as one HTML page that needs no network and no other file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pelagia import __version__
from pelagia.pages.page import plain_table, render
from pelagia_labeling.agreement.measure import Agreement, ClassAgreement, PairAgreement
from pelagia_labeling.agreement.repeats import SelfAgreement
from pelagia_labeling.agreement.resample import DRAWS, LEVEL, Estimate

MOST_CONFUSIONS = 12
_LEGEND = {
    "pairwise": ("Agreement", "share of pairs of people who gave an image the same class"),
    "alpha": ("Krippendorff's alpha", "agreement beyond chance: 0 is chance, 1 is perfect"),
    "weighted_alpha": ("Alpha, weighted", "the same, but confusing relatives counts less (taxonomic distance)"),
    "fleiss": ("Fleiss' kappa", "agreement beyond chance, for equal numbers of people"),
    "macro_f1": ("Macro-F1 between people", "one person measured against another, as a model is measured"),
}


@dataclass(frozen=True)
class Confusion:
    """Two people who often name two different classes: ``first`` says ``one`` where ``second`` says ``other``."""

    first: str
    one: str
    second: str
    other: str
    images: int
    of: int


def confusions(agreement: Agreement, most: int = MOST_CONFUSIONS) -> list[Confusion]:
    """The most frequent confusions between two people, most frequent first."""
    found = [confusion for pair in agreement.pairs for confusion in _of_pair(pair, agreement.classes)]
    return sorted(found, key=lambda one: (-one.images, one.of))[:most]


def _of_pair(pair: PairAgreement, classes: tuple[str, ...]) -> Iterator[Confusion]:
    for row, column in zip(*np.nonzero(pair.confusion), strict=True):
        if row != column:
            count, total = int(pair.confusion[row, column]), int(pair.confusion[row].sum())
            yield Confusion(pair.first, classes[row], pair.second, classes[column], count, total)


def headline(agreement: Agreement) -> list[tuple[str, Estimate, str]]:
    """Name, value and explanation of the figures of all images together."""
    found = [(name, getattr(agreement, key), text) for key, (name, text) in _LEGEND.items()]
    return [(name, value, text) for name, value, text in found if value is not None]


def text_lines(agreement: Agreement) -> Iterator[str]:
    """The figures as lines of text, without tables."""
    people = len(agreement.by_annotator)
    yield (
        f"{agreement.images} images, {people} {'person' if people == 1 else 'people'}; "
        f"{agreement.shared} images were labeled by two or more people ({agreement.groups} groups)"
    )
    if agreement.shared:
        for name, value, text in headline(agreement):
            yield f"{name}: {value.text()}: {text}"
    if agreement.cells:
        yield agreement.cells.text()


def class_rows(agreement: Agreement) -> list[list[str]]:
    """A row for each class: name, images, F1, alpha, and Fleiss' kappa if it is given."""
    return [
        [one.name, str(one.images), one.f1.text(), one.alpha.text(), *([one.fleiss.text()] if one.fleiss else [])]
        for one in agreement.by_class
    ]


def class_header(agreement: Agreement) -> list[str]:
    """The header of `class_rows`."""
    return ["class", "images", "F1 between people", "alpha", *(["Fleiss' kappa"] if agreement.fleiss else [])]


PAIR_HEADER = ("person", "other person", "images", "agreement", "Cohen's kappa")
CONFUSION_HEADER = ("person", "says", "where another", "says", "images", "share")
REPEAT_HEADER = ("person", "repeats", "same class again", "kappa", "days between (median)")


def pair_rows(agreement: Agreement) -> list[list[str]]:
    """A row for each two people, as in `PAIR_HEADER`."""
    return [
        [pair.first, pair.second, str(pair.images), pair.agreement.text(), pair.kappa.text()]
        for pair in agreement.pairs
    ]


def confusion_rows(agreement: Agreement) -> list[list[str]]:
    """A row for each frequent confusion, as in `CONFUSION_HEADER`; the share is of the first person's images."""
    return [
        [one.first, one.one, one.second, one.other, str(one.images), f"{one.images / one.of:.0%} of {one.of}"]
        for one in confusions(agreement)
    ]


def repeat_rows(agreement: Agreement) -> list[list[str]]:
    """A row for each person with repeats, as in `REPEAT_HEADER`."""
    return [
        [one.annotator, str(one.repeats), one.agreement.text(), one.kappa.text(), _days(one)]
        for one in agreement.repeats
    ]


def _days(one: SelfAgreement) -> str:
    return "not known" if one.days is None else f"{one.days:.1f}"


def as_json(agreement: Agreement) -> dict[str, Any]:
    """All figures as values that JSON can hold. An interval is [low, high], or null if there is none."""
    return {
        "images": agreement.images,
        "shared": agreement.shared,
        "groups": agreement.groups,
        "interval_method": {"level": LEVEL, "draws": DRAWS, "resampled": "groups"},
        "annotators": {name: {"images": a, "shared": b} for name, (a, b) in agreement.by_annotator.items()},
        **{key: value.as_json() if (value := getattr(agreement, key)) else None for key in _LEGEND},
        "by_class": {one.name: _class_as_json(one) for one in agreement.by_class},
        "pairs": [_pair_as_json(pair) for pair in agreement.pairs],
        "confusion": {"classes": list(agreement.classes), "coincidences": agreement.confusion.round(6).tolist()},
        "repeats": [_repeats_as_json(one) for one in agreement.repeats],
        "cells": asdict(agreement.cells) if agreement.cells else None,
        "notes": list(agreement.notes),
    }


def _class_as_json(one: ClassAgreement) -> dict[str, Any]:
    fleiss = one.fleiss.as_json() if one.fleiss else None
    return {"images": one.images, "f1": one.f1.as_json(), "alpha": one.alpha.as_json(), "fleiss": fleiss}


def _pair_as_json(pair: PairAgreement) -> dict[str, Any]:
    return {
        "first": pair.first,
        "second": pair.second,
        "images": pair.images,
        "agreement": pair.agreement.as_json(),
        "kappa": pair.kappa.as_json(),
        "per_class": {name: kappa.as_json() for name, kappa in pair.per_class.items()},
        "confusion": pair.confusion.tolist(),
    }


def _repeats_as_json(one: SelfAgreement) -> dict[str, Any]:
    return {
        "annotator": one.annotator,
        "repeats": one.repeats,
        "agreement": one.agreement.as_json(),
        "kappa": one.kappa.as_json(),
        "days": one.days,
        "changes": [list(change) for change in one.changes],
    }


def html(agreement: Agreement, title: str) -> str:
    """The page; every text in it is escaped, because people choose the names of classes and accounts."""
    return render(
        "pelagia_labeling.agreement",
        "agreement.html",
        title=title,
        agreement=agreement,
        headline=headline(agreement) if agreement.shared else [],
        classes=plain_table(class_header(agreement), class_rows(agreement)),
        pairs=plain_table(PAIR_HEADER, pair_rows(agreement)),
        repeats=plain_table(REPEAT_HEADER, repeat_rows(agreement)),
        confusions=plain_table(CONFUSION_HEADER, confusion_rows(agreement)),
        matrix=_matrix(agreement),
        made_by=f"pelagia {__version__}",
    )


def _matrix(agreement: Agreement) -> dict[str, Any]:
    """The coincidences of the classes that somebody named: names, and rows of cells."""
    named = np.flatnonzero(agreement.confusion.any(axis=0))
    values = agreement.confusion[np.ix_(named, named)]
    shares = values / np.maximum(values.sum(axis=1, keepdims=True), 1e-9)
    names = [agreement.classes[index] for index in named]
    cells = [
        [
            {"text": f"{value:.1f}".removesuffix(".0"), "share": round(float(share), 3), "same": row == column}
            for column, (value, share) in enumerate(zip(values[row], shares[row], strict=True))
        ]
        for row in range(len(names))
    ]
    return {"names": names, "rows": [{"name": name, "cells": row} for name, row in zip(names, cells, strict=True)]}
