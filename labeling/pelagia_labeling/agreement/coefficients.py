"""Coefficients of agreement: Cohen's kappa, Fleiss' kappa, Krippendorff's alpha, and the F1 between people.

Each function returns (terms, value) for `pelagia_labeling.agreement.resample.estimate`. ``counts`` is always float64,
images x classes: the number of people who named each class; only images with two or more ratings may be passed.

Sources: Cohen 1960, "A coefficient of agreement for nominal scales"; Fleiss 1971, "Measuring nominal scale agreement
among many raters", with his kappa of a single category; Krippendorff 2011, "Computing Krippendorff's
alpha-reliability". The agreement on one class is the positive specific agreement of Cicchetti and Feinstein 1990, which
equals the F1 of one person measured against another.
"""

from __future__ import annotations

import numpy as np

from pelagia_labeling.agreement.resample import Value
from pelagia_labeling.agreement.table import Codes, Real

Coefficient = tuple[Real, Value]


def pairwise_agreement(counts: Real) -> Coefficient:
    """Mean over the images of the share of pairs of ratings that name the same class."""
    number = counts.sum(axis=1)
    agreeing = (counts * (counts - 1)).sum(axis=1) / (number * (number - 1))
    return np.stack([agreeing, np.ones_like(agreeing)], axis=1), lambda sums: sums[..., :1] / sums[..., 1:]


def alpha(counts: Real, distance: Real) -> Coefficient:
    """Krippendorff's alpha; images with any number of ratings from two on.

    Args:
        counts: as for all functions of this module.
        distance: float64, classes x classes: how different two classes are; 0 on the diagonal.
    """
    number = counts.sum(axis=1)
    observed = np.einsum("ic,ck,ik->i", counts, distance, counts, optimize=True) / (number - 1)

    def value(sums: Real) -> Real:
        totals = sums[..., 1:]
        expected = np.einsum("...c,ck,...k->...", totals, distance, totals, optimize=True)
        result: Real = 1 - (totals.sum(axis=-1) - 1) * sums[..., 0] / expected
        return result[..., None]

    return np.column_stack([observed, counts]), value


def nominal(classes: int) -> Real:
    """The distance of `alpha` if any two different classes are equally different."""
    return 1 - np.eye(classes)


def alpha_by_class(counts: Real) -> Coefficient:
    """Krippendorff's nominal alpha of each class against all others."""
    number = counts.sum(axis=1, keepdims=True)
    observed = 2 * counts * (number - counts) / (number - 1)

    def value(sums: Real) -> Real:
        differing, totals = np.split(sums, 2, axis=-1)
        everything = totals.sum(axis=-1, keepdims=True)
        result: Real = 1 - (everything - 1) * differing / (2 * totals * (everything - totals))
        return result

    return np.hstack([observed, counts]), value


def f1_by_class(counts: Real) -> Coefficient:
    """The F1 of each class if one person is measured against another, followed by the macro-F1.

    All pairs of ratings of an image are used; an image has the weight of its number of ratings, as in alpha. The
    macro-F1 is the mean over the classes that somebody named.
    """
    number = counts.sum(axis=1, keepdims=True)
    agreeing = counts * (counts - 1) / (number - 1)

    def value(sums: Real) -> Real:
        both, totals = np.split(sums, 2, axis=-1)
        f1 = both / totals
        named = totals > 0
        macro = np.where(named, f1, 0).sum(axis=-1, keepdims=True) / named.sum(axis=-1, keepdims=True)
        return np.concatenate([f1, macro], axis=-1)

    return np.hstack([agreeing, counts]), value


def fleiss(counts: Real) -> Coefficient:
    """Fleiss' kappa of all classes, followed by that of each class. All images must have equally many ratings."""
    number = counts.sum(axis=1, keepdims=True)
    per_class = counts * (number - counts)

    def value(sums: Real) -> Real:
        differing, totals = np.split(sums, 2, axis=-1)
        each = number[0, 0]
        everything = totals.sum(axis=-1, keepdims=True)
        share = totals / everything
        by_chance = share * (1 - share)
        observed = differing / (everything * (each - 1))
        whole = 1 - observed.sum(axis=-1, keepdims=True) / by_chance.sum(axis=-1, keepdims=True)
        return np.concatenate([whole, 1 - observed / by_chance], axis=-1)

    return np.hstack([per_class, counts]), value


def cohen(first: Codes, second: Codes, classes: int) -> Coefficient:
    """Cohen's kappa of two people, the share of images on which they agree, and the kappa of each class.

    Args:
        first: int64, the class that one person named for each image.
        second: the same for the other person.
        classes: number of classes.
    """
    one, other = np.eye(classes)[first], np.eye(classes)[second]

    def value(sums: Real) -> Real:
        both, mine, theirs = np.split(sums, 3, axis=-1)
        number = mine.sum(axis=-1, keepdims=True)
        observed = both.sum(axis=-1, keepdims=True) / number
        expected = (mine * theirs).sum(axis=-1, keepdims=True) / number**2
        agreeing = 1 - (mine + theirs - 2 * both) / number
        by_chance = (mine * theirs + (number - mine) * (number - theirs)) / number**2
        whole = (observed - expected) / (1 - expected)
        return np.concatenate([whole, observed, (agreeing - by_chance) / (1 - by_chance)], axis=-1)

    return np.hstack([one * other, one, other]), value


def coincidences(counts: Real) -> Real:
    """Who names what where another names what: float64, classes x classes, symmetric.

    The value of (a, b) is the number of pairs of ratings of one image in which one person named a and the other b; the
    pairs of an image with m ratings have the weight 1 / (m - 1) (the coincidence matrix of Krippendorff 2011).
    """
    number = counts.sum(axis=1, keepdims=True)
    weighted = counts / (number - 1)
    matrix: Real = weighted.T @ counts - np.diag(weighted.sum(axis=0))
    return matrix
