"""Chooses how counts are corrected, and how wide their intervals are, by simulation on groups that were left out.

Invariant: a recipe is chosen only if it is better than no correction for every kind of simulated survey.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from pelagia.model.counting import Calibration, Recipe, Simulated
from pelagia_inference.counts.estimators import Known, Real, estimate, known_of, raw_shares
from pelagia_inference.counts.intervals import NOMINAL, Pool, Scores, simulated_interval, spread_interval
from pelagia_training.counts.simulate import COMPOSITIONS, IMAGES, Drawn, Trial, trials

TRIALS, SURVEYS = 12, 4
_LEAST = 0.1
_POOLED_GROUPS = 10
"""A class's own factor of the interval has the weight of its groups; the factor of all classes, of this many groups."""
_MOST_LEVEL = 0.97
"""Largest quantile of a class's residuals. A larger one is that of one or two surveys, and may be 100 times larger."""
_WIDER = 0.93
"""The 95% point of Student's t with n - 1 degrees of freedom is about 1 + 0.93 / (n - 1) times that of a normal one."""

RECIPES: tuple[Recipe, ...] = (
    Recipe(),
    Recipe(method="mean"),
    *(Recipe(method="acc", smoothing=images, raw_weight=weight) for images, weight in product((0, 5, 20), (0, 0.25))),
    *(Recipe(method="pacc", smoothing=images, raw_weight=weight) for images, weight in product((0, 5), (0, 0.25))),
    *(
        Recipe(method="em", power=power, prior_images=images, raw_weight=weight)
        for power, images, weight in product((0.8, 1, 1.2, 1.5), (0, 5, 20), (0, 0.1, 0.25, 0.5))
    ),
)
"""The recipes that are tried."""

Choice = tuple[Recipe, Real, tuple[Simulated, ...]]
"""A recipe, the factors of the intervals (float64, K), and the errors with and without correction."""
Errors = dict[str, Real]
"""Kind of survey -> float64, surveys x recipes: the mean absolute error of the share of a class."""


def recipe_errors(drawn: Sequence[Trial], recipes: Sequence[Recipe] = RECIPES) -> Errors:
    """The errors of each recipe in each simulated survey."""
    errors: dict[str, list[list[float]]] = defaultdict(list)
    for trial in drawn:
        known = [known_of(recipe, trial.calibration) for recipe in recipes]
        for survey in trial.surveys:
            errors[survey.kind].append(_errors(known, survey))
    return {kind: np.array(rows) for kind, rows in errors.items()}


def _errors(known: Sequence[Known], survey: Drawn) -> list[float]:
    """The error of each recipe in a survey. Recipes that differ in `raw_weight` alone are estimated once."""
    raw = raw_shares(survey.probabilities)
    unmixed: dict[Recipe, Real] = {}
    found = []
    for one in known:
        recipe = one.recipe.model_copy(update={"raw_weight": 0.0})
        if recipe not in unmixed:
            unmixed[recipe] = estimate(Known(recipe, one.prior, one.rates), survey.probabilities)
        weight = one.recipe.raw_weight
        shares = weight * raw + (1 - weight) * unmixed[recipe]
        found.append(float(np.abs(shares - survey.truth).mean()))
    return found


def best_recipe(errors: Errors, recipes: Sequence[Recipe] = RECIPES) -> Recipe:
    """The recipe with the smallest mean of the ratios of its error to the raw error, over the kinds of surveys.

    A recipe with a ratio above 1 for any kind is left out; if all others are, the first recipe, raw, is the best.
    """
    ratios = np.array([rows.mean(axis=0) / max(rows.mean(axis=0)[0], 1e-9) for rows in errors.values()])
    allowed = np.where((ratios <= 1).all(axis=0), np.log(np.maximum(ratios, 1e-9)).mean(axis=0), np.inf)
    return recipes[int(allowed.argmin())]


def choose(calibration: Calibration, seed: int = 0, progress: Callable[[str], None] = lambda text: None) -> Choice:
    """The recipe, the factors of the intervals, and the errors.

    Args:
        calibration: predictions of labeled images by networks that were not trained on them.
        seed: of the random choices.
        progress: called with a line of text for people.
    """
    progress("counts: comparing corrections in simulated surveys of left-out groups")
    drawn = list(trials(calibration, TRIALS, SURVEYS, seed=seed))
    recipe = best_recipe(recipe_errors(drawn))
    progress("counts: simulating intervals")
    checked = list(trials(calibration, TRIALS, SURVEYS, seed=seed + 1))
    residuals, measured = _measured(recipe, [(trial, trial.surveys) for trial in checked])
    of_one, _ = _measured(recipe, [(trial, trial.of_one) for trial in checked])
    spread = factors(np.concatenate((residuals, of_one)), groups_of(calibration))
    return recipe, spread, _simulated(measured, residuals, spread)


def groups_of(calibration: Calibration) -> NDArray[np.int64]:
    """The number of groups that have images of each class: int64, K."""
    pairs = np.unique(np.stack((calibration.labels, calibration.groups)), axis=1)
    return np.bincount(pairs[0], minlength=calibration.probabilities.shape[1])


def _measured(
    recipe: Recipe, drawn: Sequence[tuple[Trial, Sequence[Drawn]]]
) -> tuple[Real, list[tuple[str, float, float]]]:
    """For each survey of each trial, how far the truth is from the estimate, and the errors.

    Returns:
        float64, surveys x K: the distance in units of the interval's end on that side; NaN: the class is not in the
        survey.
        Kind, raw error, corrected error.
    """
    residuals, errors = [], []
    for trial, surveys in drawn:
        known = known_of(recipe, trial.calibration)
        scores = Scores.of(known, trial.calibration.probabilities)
        pool = Pool(trial.calibration, len(known.prior))
        for survey in surveys:
            shares = estimate(known, survey.probabilities)
            below, above = simulated_interval(scores, pool, shares, len(survey.probabilities), survey.groups)
            residuals.append(residual(shares, survey, below, above))
            raw = raw_shares(survey.probabilities)
            raw_error, corrected_error = (float(np.abs(found - survey.truth).mean()) for found in (raw, shares))
            errors.append((survey.kind, raw_error, corrected_error))
    return np.array(residuals), errors


def residual(shares: Real, survey: Drawn, below: Real, above: Real) -> Real:
    """The distance of the truth from the estimate, in units of the interval's end on its side: float64, K."""
    distance = np.maximum((shares - survey.truth) / below, (survey.truth - shares) / above)
    seen = survey.present & (survey.truth > 0)
    return np.where(seen, distance, np.nan)


def factors(residuals: Real, groups: NDArray[np.int64]) -> Real:
    """For each class, the factor with which the nominal share of its intervals covers the truth: float64, K.

    Few groups show too little of how groups differ. So the quantile (1 + 1/n) times the nominal share is taken of the
    residuals of a class in n groups, as in split conformal prediction. The factor is drawn towards that of all classes,
    the more the fewer the groups, and widened as Student's t is wider than the normal distribution.

    Args:
        residuals: float64, surveys x K, as `residual` gives them.
        groups: int64, K: number of groups that have images of the class.
    """
    everything = residuals[~np.isnan(residuals)]
    common = float(np.quantile(everything, NOMINAL)) if len(everything) else 1.0
    levels = np.minimum(NOMINAL * (1 + 1 / np.maximum(groups, 1)), _MOST_LEVEL)
    own = np.full(residuals.shape[1], common)
    for number, column in enumerate(residuals.T):
        if (~np.isnan(column)).any():
            own[number] = np.quantile(column[~np.isnan(column)], levels[number])
    logs = (groups * np.log(np.maximum(own, _LEAST)) + _POOLED_GROUPS * np.log(max(common, _LEAST))) / (
        groups + _POOLED_GROUPS
    )
    return np.asarray(np.exp(logs) * (1 + _WIDER / np.maximum(groups - 1, 1)))


def _simulated(measured: Sequence[tuple[str, float, float]], residuals: Real, spread: Real) -> tuple[Simulated, ...]:
    kinds = np.array([kind for kind, _, _ in measured])
    errors = np.array([numbers for _, *numbers in measured])
    found = []
    for kind, parameter in COMPOSITIONS.items():
        mine = kinds == kind
        inside = residuals[mine] <= spread
        raw, corrected = errors[mine].mean(axis=0)
        found.append(
            Simulated(
                composition=kind,
                dirichlet=parameter,
                surveys=int(mine.sum()),
                images=IMAGES,
                raw_error=float(raw),
                corrected_error=float(corrected),
                coverage=float(inside[~np.isnan(residuals[mine])].mean()),
            )
        )
    return tuple(found)


def covered(shares: Real, truth: Real, below: Real, above: Real, spread: Real) -> NDArray[np.bool_]:
    """Whether the interval of each class covers its true share: bool, K."""
    low, high = spread_interval(below, above, shares, spread)
    inside: NDArray[np.bool_] = (low - 1e-9 <= truth) & (truth <= high + 1e-9)
    return inside
