"""The learning curve so far: what a simple classifier of embeddings gets right on groups that it has not seen.

The classifier is a regularized logistic regression. It is trained on growing, nested parts of the labels, and each
image is predicted by a classifier that saw no image of its group (cross-validation by group). It is no substitute for
the trained network, whose macro-F1 is usually higher; the shape of both curves is what matters here.

Invariant: the result depends only on the arguments.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pelagia.errors import InputError

FOLDS = 5
SHARES = (0.1, 0.15, 0.2, 0.3, 0.4, 0.55, 0.75, 1.0)
"""The parts of the labels that classifiers are trained on."""
LEAST_OF_CLASS = 5
"""A class with fewer labels, or with labels of one group only, is left out of the curve."""
LEAST_LABELS = 100
_REPEATS, _MANY = 4, 20000
_DIMENSIONS = 256
_STRENGTHS = (0.003, 0.03, 0.3)
Ints = NDArray[np.int64]
Real = NDArray[np.float64]


@dataclass(frozen=True)
class Labels:
    """Labeled images with embeddings.

    Attributes:
        vectors: float32, N x D.
        classes: the class of each image, N.
        groups: the group of each image, such as its station, N.
        order: the images in the order in which they were labeled, if that decides which labels come first; empty:
            random orders.
        new_groups: whether the part of the labels grows by whole groups, because the next labels are of new groups;
            otherwise it grows by single images of all groups.
    """

    vectors: NDArray[np.float32]
    classes: Sequence[str]
    groups: Sequence[str]
    order: Sequence[int] = ()
    new_groups: bool = False


@dataclass(frozen=True)
class LearningCurve:
    """Predictions at growing numbers of labels.

    Attributes:
        names: the classes of the curve, C.
        left_out: class -> labels, of classes that are too rare.
        labels: float64, P: numbers of labels, ascending; the last one is the present number.
        targets: int64, N, index in ``names``.
        groups: int64, N, number of the group.
        predicted: int16, repeats x P x N, index in ``names``.
    """

    names: tuple[str, ...]
    left_out: dict[str, int]
    labels: Real
    targets: Ints
    groups: Ints
    predicted: NDArray[np.int16]


def learning_curve(
    labels: Labels, *, seed: int = 0, progress: Callable[[int, int], None] = lambda done, total: None
) -> LearningCurve:
    """Trains the classifiers.

    Args:
        labels: the labeled images.
        seed: seed of the folds and of the random orders.
        progress: called with (classifiers trained, all classifiers).

    Raises:
        InputError: there are too few labels, classes or groups.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # a dependency of scikit-learn

    kept, names, left_out = _usable(labels)
    groups = np.unique(np.asarray(labels.groups, object)[kept].astype(str), return_inverse=True)[1]
    targets = np.searchsorted(names, np.asarray(labels.classes, object)[kept].astype(str))
    _require_enough(kept, names, groups)
    vectors = _reduced(labels.vectors[kept])
    place = {image: index for index, image in enumerate(kept.tolist())}
    order = np.array([place[image] for image in labels.order if image in place], np.int64)
    repeats = max(1, min(_REPEATS, _MANY // len(kept)))
    predicted = np.empty((repeats, len(SHARES), len(kept)), np.int16)
    with threadpool_limits(1):  # threads inside these small matrix products make them ten times slower
        strength = _strength(vectors, targets, groups, seed)
        for repeat in range(repeats):
            fold_of = _folds(targets, groups, seed + repeat)
            rank = (
                order if len(order) else _random_order(groups, labels.new_groups, np.random.default_rng((seed, repeat)))
            )
            for fold in range(FOLDS):
                rest, held_out = rank[fold_of[rank] != fold], np.flatnonzero(fold_of == fold)
                predicted[repeat][:, held_out] = _predict_growing(vectors, targets, rest, held_out, strength)
                progress(repeat * FOLDS + fold + 1, repeats * FOLDS)
    sizes = np.round(np.array(SHARES) * len(kept))
    return LearningCurve(tuple(names.tolist()), left_out, sizes, targets, groups, predicted)


def _random_order(groups: Ints, whole_groups: bool, random: np.random.Generator) -> Ints:
    """The images in a random order; with ``whole_groups``, the images of a group follow each other."""
    order = random.permutation(len(groups))
    if whole_groups:
        place = random.permutation(int(groups.max()) + 1)
        order = order[np.argsort(place[groups[order]], kind="stable")]
    return order


def _require_enough(kept: Ints, names: NDArray[np.str_], groups: Ints) -> None:
    """Raises InputError if there are too few labels, classes or groups."""
    if len(kept) < LEAST_LABELS or len(names) < 2 or groups.max() + 1 < FOLDS:
        raise InputError(
            f"there are {len(kept)} labels of {len(names)} classes in {groups.max() + 1 if len(kept) else 0} groups "
            f"with embeddings; a learning curve needs {LEAST_LABELS} labels of 2 classes in {FOLDS} groups: label more"
        )


def _predict_growing(
    vectors: NDArray[np.float32], targets: Ints, rest: Ints, held_out: Ints, strength: float
) -> NDArray[np.int64]:
    """Predictions of ``held_out`` by classifiers of growing parts of ``rest``: int64, sizes x images."""
    parts = [rest[: max(2, round(share * len(rest)))] for share in SHARES]
    return np.stack([_predict(vectors, targets, part, held_out, strength) for part in parts])


def _usable(labels: Labels) -> tuple[Ints, NDArray[np.str_], dict[str, int]]:
    """The images of classes that are frequent enough; these classes, sorted; the other classes and their labels."""
    groups: dict[str, set[str]] = {}
    counts: dict[str, int] = {}
    for name, group in zip(labels.classes, labels.groups, strict=True):
        groups.setdefault(name, set()).add(group)
        counts[name] = counts.get(name, 0) + 1
    names = sorted(name for name, count in counts.items() if count >= LEAST_OF_CLASS and len(groups[name]) > 1)
    chosen = set(names)
    kept = np.array([index for index, name in enumerate(labels.classes) if name in chosen], np.int64)
    left_out = {name: count for name, count in sorted(counts.items()) if name not in chosen}
    return kept, np.array(names, str), left_out


def _reduced(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The principal components of the vectors, scaled to a mean variance of 1: float32, N x at most `_DIMENSIONS`."""
    from sklearn.decomposition import PCA

    centered = np.asarray(vectors, np.float32) - vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    size = min(_DIMENSIONS, *centered.shape)
    parts = PCA(size, svd_solver="randomized" if size < min(centered.shape) else "full", random_state=0)
    reduced = parts.fit_transform(centered)
    scaled: NDArray[np.float32] = (reduced / np.sqrt(max(reduced.var(axis=0).mean(), 1e-12))).astype(np.float32)
    return scaled


def _folds(targets: Ints, groups: Ints, seed: int) -> Ints:
    """The fold of each image; the images of a group are in one fold."""
    from pelagia.dataset.splits import assign_parts

    parts = assign_parts([str(one) for one in targets], [str(one) for one in groups], [1 / FOLDS] * FOLDS, seed)
    return np.array(parts, np.int64)


def _strength(vectors: NDArray[np.float32], targets: Ints, groups: Ints, seed: int) -> float:
    """The inverse strength of the regularization with the best macro-F1 on one fold."""
    from sklearn.metrics import f1_score

    fold_of = _folds(targets, groups, seed)
    train, test = np.flatnonzero(fold_of != 0), np.flatnonzero(fold_of == 0)
    scores = [
        f1_score(targets[test], _predict(vectors, targets, train, test, strength), average="macro", zero_division=0)
        for strength in _STRENGTHS
    ]
    return _STRENGTHS[int(np.argmax(scores))]


def _predict(vectors: NDArray[np.float32], targets: Ints, train: Ints, test: Ints, strength: float) -> Ints:
    """Trains on the images ``train`` and predicts the images ``test``."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(targets[train])) < 2:
        return np.full(len(test), targets[train[0]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the last digits of the weights do not matter
        model = LogisticRegression(C=strength, max_iter=100, tol=1e-3).fit(vectors[train], targets[train])
    found: Ints = model.predict(vectors[test])
    return found
