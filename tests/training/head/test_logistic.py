"""The last layer as a regularized logistic regression."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from pelagia_training.head.logistic import STRENGTHS, choose_strength, fit_path
from pelagia_training.network.losses import build_loss

CLASSES = 3
LABELS = np.arange(60) % CLASSES
LOSS = build_loss("none", np.bincount(LABELS))


def blobs(dimensions: int, spread: float = 1.0) -> NDArray[np.float32]:
    """Features of 60 images around one center for each class: float32, 60 x dimensions."""
    random = np.random.default_rng(3)
    centers = random.normal(size=(CLASSES, dimensions))
    return (5 + centers[LABELS] + spread * random.normal(size=(60, dimensions))).astype(np.float32)


def one_hot(labels: NDArray[np.int64]) -> NDArray[np.float32]:
    return np.eye(CLASSES, dtype=np.float32)[labels]


@pytest.mark.parametrize("dimensions", [8, 200], ids=["more images than dimensions", "fewer"])
def test_the_head_is_that_of_scikit_learn(dimensions: int) -> None:
    features, strength = blobs(dimensions), 0.03
    [head] = fit_path(features, one_hot(LABELS), LOSS, [strength])
    centered = features - features.mean(axis=0)
    scaled = centered / np.sqrt((centered**2).mean())
    theirs = LogisticRegression(C=1 / (strength * len(features)), max_iter=1000, tol=1e-6).fit(scaled, LABELS)
    ours = head.logits(features)
    np.testing.assert_allclose(
        ours - ours.mean(1, keepdims=True),
        theirs.decision_function(scaled) - theirs.decision_function(scaled).mean(1, keepdims=True),
        atol=5e-3,
    )


def test_a_stronger_penalty_gives_smaller_weights() -> None:
    lengths = [np.linalg.norm(head.weight) for head in fit_path(blobs(8), one_hot(LABELS), LOSS)]
    assert lengths == sorted(lengths)
    assert lengths[-1] > 2 * lengths[0]


def test_noise_is_penalized_more_than_a_clear_difference() -> None:
    groups = [f"station {index // 6}" for index in range(60)]
    noisy = choose_strength(blobs(200, spread=12), one_hot(LABELS), LABELS, groups, LOSS)
    clear = choose_strength(blobs(200, spread=0.1), one_hot(LABELS), LABELS, groups, LOSS)
    assert (noisy.folds, noisy.grouped) == (5, True)
    assert clear.strength == STRENGTHS[0]  # all strengths are equally good, and the strongest is taken
    assert max(clear.macro_f1) == 1.0
    assert max(noisy.macro_f1) < 0.9


def test_groups_are_left_out_as_a_whole() -> None:
    # the features tell only the group, and each group is of one class: what is learned helps for no other group
    group = np.arange(60) // 6
    features = np.eye(10, dtype=np.float32)[group]
    labels = np.random.default_rng(0).permutation(10)[group] % CLASSES
    by_group = choose_strength(features, one_hot(labels), labels, [str(one) for one in group], LOSS)
    by_image = choose_strength(features, one_hot(labels), labels, ["all"] * 60, LOSS)
    assert max(by_image.macro_f1) == 1.0
    assert not by_image.grouped
    assert max(by_group.macro_f1) < 0.5
