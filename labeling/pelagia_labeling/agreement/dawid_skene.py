"""The most likely true class of each image, from how often each person confuses which classes.

Dawid and Skene 1979, "Maximum likelihood estimation of observer error-rates using the EM algorithm": the true classes
are estimated from the error rates of the people, and the error rates from the true classes, in turn, until nothing
changes. So a person who is often wrong counts less, and a person who always calls a nauplius a copepod is understood.

With few ratings a person's own error rates are uncertain. So the error rates of all people together are added to those
of each person, with the weight of ``shared`` ratings of each class; ``shared`` = 0 is the method of the paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from pelagia_labeling.agreement.table import Codes, Real

SHARED = 1.0
MOST_ROUNDS = 200
_TOLERANCE = 1e-6
_LEAST = 1e-12


@dataclass(frozen=True)
class Truth:
    """What is estimated.

    Attributes:
        posterior: float64, images x classes: the probability that a class is the true one; rows sum to 1.
        prior: float64, classes: how frequent each class is.
        errors: float64, annotators x true classes x named classes: how often a person names a class; rows sum to 1.
        rounds: number of rounds until nothing changed, or `MOST_ROUNDS`.
    """

    posterior: Real
    prior: Real
    errors: Real
    rounds: int


def dawid_skene(codes: Codes, classes: int, *, shared: float = SHARED) -> Truth:
    """The posterior of each image that has a rating.

    Args:
        codes: int64, images x annotators: the class that each person named; -1: none. Every image has a rating.
        classes: number of classes.
        shared: weight of the error rates of all people together, in ratings of each class; 0: only a person's own.
    """
    image, annotator = np.nonzero(codes >= 0)
    return estimate_truth(image, annotator, codes[image, annotator], classes, shared=shared)


def estimate_truth(image: Codes, annotator: Codes, named: Codes, classes: int, *, shared: float = SHARED) -> Truth:
    """As `dawid_skene`, from one row per rating; a person may have rated an image several times.

    Args:
        image: int64, ratings: the index of the image.
        annotator: int64, ratings: the index of the person.
        named: int64, ratings: the index of the class that the person named.
        classes: number of classes.
        shared: as for `dawid_skene`.
    """
    images, people = int(image.max()) + 1, int(annotator.max()) + 1
    shape = (images, people * classes)
    said = csr_array((np.ones(len(named)), (image, annotator * classes + named)), shape=shape)
    posterior: Real = said @ np.tile(np.eye(classes), (people, 1))
    posterior /= posterior.sum(axis=1, keepdims=True)
    prior, errors = _rates(posterior, said, people, shared)
    rounds, change = 0, 1.0
    while change > _TOLERANCE and rounds < MOST_ROUNDS:
        before, posterior = posterior, _posterior(prior, errors, said)
        prior, errors = _rates(posterior, said, people, shared)
        rounds, change = rounds + 1, float(np.abs(posterior - before).max())
    return Truth(posterior, prior, errors, rounds)


def _rates(posterior: Real, said: Any, people: int, shared: float) -> tuple[Real, Real]:
    """The M step: the frequency of each class, and the error rates of each person.

    Args:
        posterior: float64, images x classes.
        said: sparse, images x (people * classes): number of times that a person named a class for an image.
        people: number of people.
        shared: weight of the error rates of all people together.
    """
    classes = posterior.shape[1]
    counts = (
        (said.T @ posterior).reshape(people, classes, classes).transpose(0, 2, 1)
    )  # person, true class, named class
    if shared:
        together = counts.sum(axis=0) + 1 / classes  # a class that nobody rated gets equal rates
        counts = counts + shared * together / together.sum(axis=1, keepdims=True)
    totals = counts.sum(axis=2, keepdims=True)
    return posterior.mean(axis=0), np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)


def _posterior(prior: Real, errors: Real, said: Any) -> Real:
    """The E step: the probability of each true class of each image."""
    classes = len(prior)
    rates = np.log(np.maximum(errors, _LEAST)).transpose(0, 2, 1).reshape(-1, classes)  # (person, named class), true
    logs = np.log(np.maximum(prior, _LEAST)) + said @ rates
    likelihood = np.exp(logs - logs.max(axis=1, keepdims=True))
    result: Real = likelihood / likelihood.sum(axis=1, keepdims=True)
    return result
