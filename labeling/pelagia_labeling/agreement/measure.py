"""All figures of agreement of a table of ratings, each with its interval.

Invariant: a figure that is not given has a reason in `Agreement.notes`. Images with one rating are counted and left out
of every figure, because one rating agrees with nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from pelagia.taxonomy import Taxonomy
from pelagia_labeling.agreement import coefficients
from pelagia_labeling.agreement.cells import CellAgreement
from pelagia_labeling.agreement.distance import taxonomic_distance
from pelagia_labeling.agreement.repeats import SelfAgreement, self_agreement
from pelagia_labeling.agreement.resample import Estimate, estimate
from pelagia_labeling.agreement.table import Codes, Ratings, Real

FEW_IMAGES = 50
"""With fewer images that two people labeled than this, the figures are uncertain, and a note says so."""
FEW_GROUPS = 10


@dataclass(frozen=True)
class ClassAgreement:
    """The agreement on one class.

    Attributes:
        name: the class.
        images: images that two or more people labeled and that at least one of them gave this class.
        f1: the F1 of one person measured against another.
        alpha: Krippendorff's alpha of this class against all others.
        fleiss: Fleiss' kappa of this class; None where Fleiss' kappa is not given.
    """

    name: str
    images: int
    f1: Estimate
    alpha: Estimate
    fleiss: Estimate | None


@dataclass(frozen=True)
class PairAgreement:
    """The agreement of two people on the images that both labeled.

    Attributes:
        first: one person.
        second: the other person.
        images: images that both labeled.
        agreement: share of these images to which both gave the same class.
        kappa: Cohen's kappa.
        per_class: class -> Cohen's kappa of this class against all others, for classes that one of them named.
        confusion: int64, classes x classes: rows are classes of ``first``, columns those of ``second``.
    """

    first: str
    second: str
    images: int
    agreement: Estimate
    kappa: Estimate
    per_class: dict[str, Estimate]
    confusion: Codes


@dataclass(frozen=True)
class Agreement:
    """How far people agree.

    Attributes:
        images: images with a rating.
        shared: images that two or more people labeled: all figures but the self-agreement are of these images.
        groups: number of groups of the shared images; the intervals come from drawing groups.
        by_annotator: person -> (images, images that somebody else labeled too).
        classes: the classes, in the order of the rows of ``confusion``.
        pairwise: mean share of pairs of ratings of one image that name the same class.
        alpha: Krippendorff's nominal alpha.
        weighted_alpha: the alpha weighted by taxonomic distance; None if it is not given.
        fleiss: Fleiss' kappa; None if it is not given.
        macro_f1: the macro-F1 of one person measured against another.
        by_class: the agreement on each class that somebody named.
        pairs: the agreement of each two people who share an image.
        confusion: float64, classes x classes, symmetric: `coefficients.coincidences`.
        repeats: the agreement of people with themselves.
        notes: why a figure is not given, or is uncertain; one sentence each.
        cells: the agreement on the number of cells; None if nobody counted cells.
    """

    images: int
    shared: int
    groups: int
    by_annotator: dict[str, tuple[int, int]]
    classes: tuple[str, ...]
    pairwise: Estimate
    alpha: Estimate
    weighted_alpha: Estimate | None
    fleiss: Estimate | None
    macro_f1: Estimate
    by_class: tuple[ClassAgreement, ...]
    pairs: tuple[PairAgreement, ...]
    confusion: Real
    repeats: tuple[SelfAgreement, ...] = ()
    notes: tuple[str, ...] = field(default=())
    cells: CellAgreement | None = None


def measure(ratings: Ratings, taxonomy: Taxonomy | None = None, *, notes: Sequence[str] = ()) -> Agreement:
    """All figures of agreement.

    Args:
        ratings: who named which class for which image.
        taxonomy: for the alpha that is weighted by taxonomic distance; None: this alpha is not given.
        notes: what the source of the ratings has to say of them.
    """
    rated = (ratings.codes >= 0).sum(axis=1)
    shared = rated >= 2
    counts, groups = ratings.counts[shared], ratings.groups[shared]
    weighted, why = _weighted_alpha(ratings.classes, counts, groups, taxonomy)
    fleiss, why_not = _fleiss(counts, groups, rated[shared])
    *f1, macro_f1 = _estimates(coefficients.f1_by_class(counts), groups, len(ratings.classes) + 1)
    nominal = coefficients.nominal(len(ratings.classes))
    return Agreement(
        images=len(ratings.items),
        shared=int(shared.sum()),
        groups=len(np.unique(groups)),
        by_annotator=_by_annotator(ratings, shared),
        classes=ratings.classes,
        pairwise=_estimates(coefficients.pairwise_agreement(counts), groups, 1)[0],
        alpha=_estimates(coefficients.alpha(counts, nominal), groups, 1)[0],
        weighted_alpha=weighted,
        fleiss=fleiss[0] if fleiss else None,
        macro_f1=macro_f1,
        by_class=tuple(_by_class(ratings.classes, counts, groups, f1, fleiss)),
        pairs=tuple(_pairs(ratings)),
        confusion=coefficients.coincidences(counts),
        repeats=tuple(self_agreement(ratings)),
        notes=(*notes, *_uncertainty(ratings, groups), *why, *why_not),
    )


def _by_class(
    classes: Sequence[str], counts: Real, groups: Codes, f1: Sequence[Estimate], fleiss: Sequence[Estimate] | None
) -> list[ClassAgreement]:
    """The agreement on each class that somebody named; ``fleiss`` begins with the kappa of all classes."""
    alphas = _estimates(coefficients.alpha_by_class(counts), groups, len(classes))
    return [
        ClassAgreement(
            name,
            int((counts[:, index] > 0).sum()),
            f1[index],
            alphas[index],
            fleiss[index + 1] if fleiss else None,
        )
        for index, name in enumerate(classes)
        if counts[:, index].any()
    ]


def _estimates(coefficient: coefficients.Coefficient, groups: Codes, number: int) -> list[Estimate]:
    """The estimates of a coefficient; ``number`` undefined ones if no image is shared."""
    terms, value = coefficient
    return estimate(terms, value, groups) if len(terms) else [Estimate(None)] * number


def _uncertainty(ratings: Ratings, groups: Codes) -> list[str]:
    """Notes on figures that are missing or uncertain."""
    if not len(groups):
        return ["No image was labeled by two people: let several people label some of the same images."]
    found = []
    if len(groups) < FEW_IMAGES:
        found.append(f"Only {len(groups)} images were labeled by two or more people: the figures are uncertain.")
    if 1 < (number := len(np.unique(groups))) < FEW_GROUPS:
        found.append(f"These images are of only {number} groups, so the intervals are too narrow.")
    if number == 1:
        found.append("These images are of one group, so there are no intervals.")
    return found


def _by_annotator(ratings: Ratings, shared: Codes) -> dict[str, tuple[int, int]]:
    named = ratings.codes >= 0
    pairs = zip(named.sum(axis=0).tolist(), named[shared].sum(axis=0).tolist(), strict=True)
    return dict(zip(ratings.annotators, pairs, strict=True))


def _weighted_alpha(
    classes: Sequence[str], counts: Real, groups: Codes, taxonomy: Taxonomy | None
) -> tuple[Estimate | None, list[str]]:
    """The alpha weighted by taxonomic distance, or a note that says why it is not given."""
    if not len(counts):
        return None, []
    if taxonomy is None:
        return None, ["The alpha weighted by taxonomic distance is not given, because no taxonomy was named."]
    distance = taxonomic_distance(taxonomy, classes)
    if distance is None:
        text = "its classes are all equally far from each other"
        return None, [f"The alpha weighted by taxonomic distance is not given for '{taxonomy.name}': {text}."]
    return _estimates(coefficients.alpha(counts, distance), groups, 1)[0], []


def _fleiss(counts: Real, groups: Codes, rated: Codes) -> tuple[list[Estimate] | None, list[str]]:
    """Fleiss' kappa, followed by that of each class; or a note that says why it is not given."""
    if not len(counts):
        return None, []
    if rated.min() != rated.max():
        return None, [
            "Fleiss' kappa is not given: it needs the same number of ratings for each image, and these images have "
            f"{rated.min()} to {rated.max()}. Krippendorff's alpha is its generalization to such data."
        ]
    return _estimates(coefficients.fleiss(counts), groups, counts.shape[1] + 1), []


def _pairs(ratings: Ratings) -> list[PairAgreement]:
    """The agreement of each two people who share an image."""
    found, number = [], len(ratings.classes)
    for first, second in combinations(range(len(ratings.annotators)), 2):
        codes = ratings.codes[:, [first, second]]
        both = (codes >= 0).all(axis=1)
        if not both.any():
            continue
        mine, theirs = codes[both].T
        kappa, agreement, *per_class = estimate(*coefficients.cohen(mine, theirs, number), ratings.groups[both])
        confusion = np.bincount(mine * number + theirs, minlength=number**2).reshape(number, number)
        named = np.union1d(mine, theirs).tolist()
        kappas = {ratings.classes[index]: per_class[index] for index in named}
        names = ratings.annotators[first], ratings.annotators[second]
        found.append(PairAgreement(*names, int(both.sum()), agreement, kappa, kappas, confusion))
    return found
