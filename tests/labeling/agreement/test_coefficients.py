"""The coefficients of agreement, checked against published worked examples and against other programs.

nltk (Apache License 2.0) and scikit-learn (BSD) compute the same coefficients independently.
"""

from __future__ import annotations

import numpy as np
import pytest
from nltk.metrics.agreement import AnnotationTask
from sklearn.metrics import cohen_kappa_score

from pelagia.taxonomy import LabelClass, Taxon, Taxonomy
from pelagia_labeling.agreement import coefficients
from pelagia_labeling.agreement.distance import taxonomic_distance
from pelagia_labeling.agreement.measure import measure
from pelagia_labeling.agreement.resample import Estimate, estimate
from pelagia_labeling.agreement.table import Rating, Ratings, tabulate

CLASSES = ("calanoid", "cyclopoid", "medusa", "detritus")
TAXONOMY = Taxonomy(
    name="plankton",
    taxa=(
        Taxon(name="Animalia", rank="kingdom"),
        Taxon(name="Copepoda", rank="class", parent="Animalia"),
        Taxon(name="Cnidaria", rank="phylum", parent="Animalia"),
    ),
    classes=(
        LabelClass(name="calanoid", taxon="Copepoda"),
        LabelClass(name="cyclopoid", taxon="Copepoda"),
        LabelClass(name="medusa", taxon="Cnidaria"),
        LabelClass(name="detritus"),
    ),
)


def rows(*lines: str) -> Ratings:
    """Ratings from one line per person, with one word per image; a dot is a missing rating."""
    return tabulate(
        Rating(str(item), str(person), word)
        for person, line in enumerate(lines)
        for item, word in enumerate(line.split())
        if word != "."
    )


def simulated(people: int, images: int, share: float, seed: int = 0) -> Ratings:
    """Ratings of people who are right in 70%; each image is rated by ``share`` of them on average."""
    random = np.random.default_rng(seed)
    found = []
    for image in range(images):
        true = random.integers(len(CLASSES))
        for person in range(people):
            if random.random() < share:
                code = true if random.random() < 0.7 else random.integers(len(CLASSES))
                found.append(Rating(f"{image:03d}", f"person {person}", CLASSES[code], group=f"ST{image % 15}"))
    return tabulate(found, CLASSES)


def as_triples(ratings: Ratings, least: int = 2) -> list[tuple[str, str, str]]:
    """The ratings of the images with at least two of them, in the form of nltk."""
    return [
        (ratings.annotators[person], ratings.items[item], ratings.classes[code])
        for item, codes in enumerate(ratings.codes)
        for person, code in enumerate(codes)
        if code >= 0 and (codes >= 0).sum() >= least
    ]


def test_cohen_equals_the_example_of_cohen() -> None:
    """Cohen 1960 and 1968: 200 cases, kappa .492."""
    confusion = np.array([[88, 14, 18], [10, 40, 10], [2, 6, 12]])
    first, second = np.divmod(np.repeat(np.arange(9), confusion.ravel()), 3)
    kappa, agreement, *_ = estimate(*coefficients.cohen(first, second, 3), np.arange(200))
    assert kappa.value == pytest.approx(0.492, abs=5e-4)
    assert kappa.value == pytest.approx((0.7 - 0.41) / (1 - 0.41), abs=1e-12)
    assert agreement.value == pytest.approx(0.7)


def test_fleiss_equals_the_published_examples() -> None:
    """The table of 10 subjects, 14 raters and 5 categories (.210), and the 30 diagnoses of Fleiss 1971 (.430)."""
    table = """0 0 0 0 14  0 2 6 4 2  0 0 3 5 6  0 3 9 2 0  2 2 8 1 1
               7 7 0 0 0  3 2 6 3 0  2 5 3 2 2  6 5 2 1 0  0 2 2 3 7"""
    counts = np.array(table.split(), float).reshape(10, 5)
    assert estimate(*coefficients.fleiss(counts), np.arange(10))[0].value == pytest.approx(0.210, abs=5e-4)
    diagnoses = """444444 222555 233335 555555 222444 113333 333355 113334 114444 555555 144444 124444 222333 144444
                   224445 333335 111455 111112 224444 133555 555555 244444 224555 114444 144445 222224 111155 224444
                   133333 555555"""
    codes = np.array([[int(digit) - 1 for digit in word] for word in diagnoses.split()])
    counts = np.stack([(codes == code).sum(axis=1) for code in range(5)], axis=1).astype(float)
    assert counts.sum(axis=0).tolist() == [26, 26, 30, 55, 43]
    kappa, *_ = estimate(*coefficients.fleiss(counts), np.arange(30))
    assert kappa.value == pytest.approx(0.4302445, abs=1e-6)  # kappam.fleiss of the R package irr


@pytest.mark.parametrize(
    ("lines", "value"),
    [
        # Krippendorff 2011, section C: four observers, twelve units, nominal
        (
            (
                "1 2 3 3 2 1 4 1 2 . . .",
                "1 2 3 3 2 2 4 1 2 5 . 3",
                ". 3 3 3 2 3 4 2 2 5 1 .",
                "1 2 3 3 2 4 4 1 2 5 1 .",
            ),
            0.743,
        ),
        # three coders, fifteen units: the example of the encyclopedias
        (
            (
                ". . . . . 3 4 1 2 1 1 3 3 . 3",
                "1 . 2 1 3 3 4 3 . . . . . . .",
                ". . 2 1 3 4 4 . 2 1 1 3 3 . 4",
            ),
            0.691,
        ),
    ],
)
def test_alpha_equals_the_published_examples(lines: tuple[str, ...], value: float) -> None:
    assert measure(rows(*lines)).alpha.value == pytest.approx(value, abs=5e-4)


@pytest.mark.parametrize("seed", range(3))
def test_every_coefficient_equals_that_of_another_program(seed: int) -> None:
    ratings = simulated(people=4, images=80, share=0.6, seed=seed)
    found = measure(ratings, TAXONOMY)
    task = AnnotationTask(as_triples(ratings))
    assert found.alpha.value == pytest.approx(task.alpha(), abs=1e-6)
    distance = taxonomic_distance(TAXONOMY, CLASSES)
    assert distance is not None
    weighted = AnnotationTask(
        as_triples(ratings), distance=lambda a, b: float(distance[CLASSES.index(a), CLASSES.index(b)])
    )
    assert found.weighted_alpha is not None
    assert found.weighted_alpha.value == pytest.approx(weighted.alpha(), abs=1e-6)
    for one in found.by_class:
        binary = [(person, item, str(name == one.name)) for person, item, name in as_triples(ratings)]
        assert one.alpha.value == pytest.approx(AnnotationTask(binary).alpha(), abs=1e-6)
    for pair in found.pairs:
        columns = [ratings.annotators.index(name) for name in (pair.first, pair.second)]
        mine, theirs = ratings.codes[:, columns][(ratings.codes[:, columns] >= 0).all(axis=1)].T
        assert pair.kappa.value == pytest.approx(cohen_kappa_score(mine, theirs), abs=1e-6)
        for name, kappa in pair.per_class.items():
            code = CLASSES.index(name)
            assert kappa.value == pytest.approx(cohen_kappa_score(mine == code, theirs == code), abs=1e-6)
    everyone = simulated(people=5, images=60, share=1.0, seed=seed)
    fleiss = measure(everyone).fleiss
    assert fleiss is not None
    assert fleiss.value == pytest.approx(AnnotationTask(as_triples(everyone)).pi(), abs=1e-6)


def test_the_f1_between_people_is_the_f1_of_one_measured_against_the_other() -> None:
    from sklearn.metrics import f1_score

    ratings = simulated(people=2, images=120, share=1.0)
    found = measure(ratings)
    mine, theirs = ratings.codes.T
    assert found.macro_f1.value == pytest.approx(f1_score(mine, theirs, average="macro"), abs=1e-9)
    expected = f1_score(mine, theirs, average=None)
    assert [one.f1.value for one in found.by_class] == pytest.approx(expected.tolist(), abs=1e-9)
    assert found.pairwise.value == pytest.approx((mine == theirs).mean(), abs=1e-9)


def test_relatives_are_near_and_detritus_is_far() -> None:
    distance = taxonomic_distance(TAXONOMY, CLASSES)
    assert distance is not None
    #  calanoid - Copepoda - cyclopoid: 2 of the 6 steps over the root; calanoid - Copepoda - Animalia - Cnidaria -
    #  medusa: 4 of 6; calanoid - Copepoda - Animalia - root - detritus: 4 of 4
    assert distance[0].tolist() == pytest.approx([0, 2 / 6, 4 / 6, 1])
    assert (distance == distance.T).all()
    flat = TAXONOMY.model_copy(update={"classes": tuple(LabelClass(name=name) for name in CLASSES)})
    assert taxonomic_distance(flat, CLASSES) is None


def test_an_interval_covers_the_true_value_as_often_as_it_says() -> None:
    covered = 0
    right, wrong = 0.7 + 0.3 / 4, 0.3 / 4  # of `simulated`: the true class, and each of the three others
    expected = right**2 + 3 * wrong**2
    for seed in range(200):
        found = simulated(people=2, images=60, share=1.0, seed=seed)
        one = estimate(*coefficients.pairwise_agreement(found.counts), np.arange(60), draws=400)[0]
        covered += one.low is not None and one.high is not None and one.low <= expected <= one.high
    assert 0.90 <= covered / 200 <= 0.99


def test_groups_widen_an_interval_if_the_images_of_a_group_are_alike() -> None:
    alike = [
        Rating(f"{group}-{image}", person, "medusa" if person == "anna" or group % 2 else "detritus", f"ST{group}")
        for group in range(20)
        for image in range(20)
        for person in ("anna", "ben")
    ]
    grouped = measure(tabulate(alike)).pairwise
    alone = measure(tabulate(Rating(one.item, one.annotator, one.class_name) for one in alike)).pairwise
    assert width(grouped) > 2 * width(alone)


def width(one: Estimate) -> float:
    assert one.low is not None
    assert one.high is not None
    return one.high - one.low


def test_what_is_not_given_is_explained() -> None:
    alone = measure(tabulate([Rating("a", "anna", "medusa")]))
    assert alone.notes[0].startswith("No image was labeled by two people: let several")
    assert alone.alpha.value is None
    unequal = measure(rows("1 2 1", "1 1 1", "1 . ."))
    assert unequal.fleiss is None
    assert any(note.startswith("Fleiss' kappa is not given: it needs the same number") for note in unequal.notes)
    same = measure(rows("1 1 1", "1 1 1"))
    assert same.alpha == Estimate(None)  # everybody always named one class: chance is perfect too
    assert same.pairwise.value == 1
