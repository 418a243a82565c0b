"""Whether Dawid-Skene finds more true classes than the majority, on simulated annotators.

.venv/bin/python -m benchmarks.labeling.consensus [--seeds 3]

Seven people label plankton of eight classes: three good ones, two bad ones, and two biased ones who call one class by
the name of another. The share of images whose class is right is compared for several numbers of images and of people
per image. Ties of the majority are broken at random. The benchmark exits with 1 if Dawid-Skene is not better in the
mean of the seeds in each setting with 600 images or more.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter

import numpy as np

from pelagia_labeling.agreement.dawid_skene import dawid_skene
from pelagia_labeling.agreement.table import Codes, Real

CLASSES = 8
IMAGES, PER_IMAGE = (150, 600, 3000), (2, 3, 5)
FEWEST = 600
GOOD, BAD, BIASED = 0.92, 0.55, 0.85


def main() -> None:
    """Runs the benchmark and prints one line per setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    seeds = parser.parse_args().seeds
    missed = False
    print("images  people per image  majority  Dawid-Skene  by seed")
    for images in IMAGES:
        for per_image in PER_IMAGE:
            pairs = [compare(seed, images, per_image) for seed in range(seeds)]
            by_majority, weighed = np.mean(pairs, axis=0)
            each = ", ".join(f"{a:.3f} and {b:.3f}" for a, b in pairs)
            print(f"{images:6}  {per_image:16}  {by_majority:8.3f}  {weighed:11.3f}  {each}")
            missed |= images >= FEWEST and weighed <= by_majority
    sys.exit(int(missed))


def compare(seed: int, images: int, per_image: int) -> tuple[float, float]:
    """The share of right classes by majority and by Dawid-Skene."""
    true, codes = simulate(seed, images=images, classes=CLASSES, per_image=per_image)
    weighed = dawid_skene(codes, CLASSES).posterior.argmax(axis=1)
    return float((majority(codes, seed) == true).mean()), float((weighed == true).mean())


def simulate(
    seed: int,
    *,
    images: int = 600,
    classes: int = 8,
    per_image: int = 3,
    people: tuple[int, int, int] = (3, 2, 2),
) -> tuple[Codes, Codes]:
    """True classes, int64, images; and what people named, int64, images x people, -1: not asked.

    Classes are as unequal as in plankton: the k-th has 1/k of the images of the first. A good person is right in 92%,
    a bad one in 55%, otherwise any other class. A biased person is as good as a good one, but calls 85% of each second
    class by the name of the class before it, as somebody who takes nauplii for copepods.

    Args:
        seed: seed of all random numbers.
        images: number of images.
        classes: number of classes.
        per_image: number of people who label an image, chosen at random.
        people: number of good, bad and biased people.
    """
    random = np.random.default_rng(seed)
    share = 1 / np.arange(1, classes + 1)
    true = random.choice(classes, images, p=share / share.sum())
    good, bad, biased = people
    errors = [_errors(GOOD, classes)] * good + [_errors(BAD, classes)] * bad + [_biased(classes)] * biased
    codes = np.full((images, len(errors)), -1, np.int64)
    for image, name in enumerate(true):
        for person in random.choice(len(errors), per_image, replace=False):
            codes[image, person] = random.choice(classes, p=errors[person][name])
    return true, codes


def _errors(right: float, classes: int) -> Real:
    """float64, true class x named class: ``right`` for the true class, the rest spread over the others."""
    errors: Real = np.full((classes, classes), (1 - right) / (classes - 1))
    np.fill_diagonal(errors, right)
    return errors


def _biased(classes: int) -> Real:
    errors = _errors(GOOD, classes)
    for index in range(0, classes - 1, 2):
        errors[index + 1] = BIASED * errors[index] + (1 - BIASED) * errors[index + 1]
    return errors


def majority(codes: Codes, seed: int) -> Codes:
    """The most frequent class of each image; one of the most frequent ones at random in a draw."""
    random = np.random.default_rng(seed)
    chosen = []
    for row in codes:
        counts = Counter(row[row >= 0].tolist())
        most = max(counts.values())
        chosen.append(random.choice([code for code, count in counts.items() if count == most]))
    return np.array(chosen, np.int64)


if __name__ == "__main__":
    main()
