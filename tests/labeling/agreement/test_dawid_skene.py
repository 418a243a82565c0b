from __future__ import annotations

import numpy as np
import pytest

from benchmarks.labeling.consensus import majority, simulate
from pelagia_labeling.agreement.dawid_skene import dawid_skene, estimate_truth

ANESTHETICS = """
111 1 1 1 1|333 4 3 3 4|112 2 1 2 2|222 3 1 2 1|222 3 2 2 2|222 3 3 2 2|122 2 1 1 1|333 3 4 3 3|222 2 2 2 3
232 2 2 2 3|444 4 4 4 4|222 3 3 4 3|111 1 1 1 1|222 3 2 1 2|121 1 1 1 1|111 2 1 1 1|111 1 1 1 1|111 1 1 1 1
222 2 2 2 1|222 1 3 2 2|222 2 2 2 2|222 2 2 2 1|222 3 2 2 2|221 2 2 2 2|111 1 1 1 1|111 1 1 1 1|232 2 2 2 2
111 1 1 1 1|111 1 1 1 1|112 1 1 2 1|111 1 1 1 1|333 3 2 3 3|111 1 1 1 1|222 2 2 2 2|222 3 2 3 2|433 4 3 4 3
221 2 2 3 2|232 3 2 3 3|333 3 4 3 2|111 1 1 1 1|111 1 1 1 1|121 2 1 1 1|232 2 2 2 2|121 1 1 1 1|222 2 2 2 2
"""
"""Table 1 of Dawid and Skene 1979: 45 patients; observer 1 three times, observers 2 to 5 once."""


def test_the_example_of_dawid_and_skene_comes_out_as_in_their_paper() -> None:
    patients = ANESTHETICS.strip().replace("\n", "|").split("|")
    rows = [
        (patient, observer, int(digit) - 1)
        for patient, text in enumerate(patients)
        for observer, digits in enumerate(text.split())
        for digit in digits
    ]
    image, observer, named = np.array(rows).T
    truth = estimate_truth(image, observer, named, 4, shared=0)
    assert truth.prior == pytest.approx([0.40, 0.42, 0.11, 0.07], abs=5e-3)
    assert truth.errors[0] == pytest.approx(
        np.array([[0.89, 0.11, 0, 0], [0.07, 0.88, 0.05, 0], [0, 0.34, 0.66, 0], [0, 0, 0.56, 0.44]]), abs=5e-3
    )
    assert truth.posterior.sum(axis=1) == pytest.approx(np.ones(45))


@pytest.mark.parametrize("seed", range(3))
def test_dawid_skene_beats_the_majority_of_good_bad_and_biased_people(seed: int) -> None:
    true, codes = simulate(seed, images=600, per_image=3)
    by_majority = (majority(codes, seed) == true).mean()
    weighed = (dawid_skene(codes, 8).posterior.argmax(axis=1) == true).mean()
    assert weighed > by_majority + 0.03


def test_one_rating_per_image_is_kept() -> None:
    codes = np.array([[0, -1], [1, -1], [-1, 0], [-1, 1]])
    assert dawid_skene(codes, 2).posterior.argmax(axis=1).tolist() == [0, 1, 0, 1]
