"""The threshold of the out-of-distribution score for a network that was trained on all images."""

import numpy as np
import pytest

from pelagia_training.network.threshold import FoldScores, accepted_shares, mean_distance, threshold_at


def fold(seed: int, *, shift: float = 0.0, scale: float = 1.0, images: int = 4000) -> FoldScores:
    """Scores of a network whose scale is its own; images that it was not trained on have higher scores."""
    random = np.random.default_rng(seed)
    trained, held_out = random.normal(0, 1, images), random.normal(1.5, 1.3, images)
    return FoldScores((shift + scale * trained).astype(np.float32), (shift + scale * held_out).astype(np.float32))


def test_the_final_network_accepts_the_promised_share_of_new_images() -> None:
    folds = [fold(seed, shift=seed, scale=1 + seed / 3) for seed in range(5)]
    final = fold(9, shift=-20, scale=4)
    limit = threshold_at(final.trained, mean_distance(folds, 0.95))
    assert float((final.held_out <= limit).mean()) == pytest.approx(0.95, abs=0.01)
    assert accepted_shares(folds, 0.95) == pytest.approx([0.95] * 5, abs=0.01)
    assert float((final.trained <= limit).mean()) > 0.999  # a rank among these scores would say nothing


def test_a_fold_that_differs_shows_in_its_share() -> None:
    odd = FoldScores(fold(1).trained, fold(1).held_out + 2)
    shares = accepted_shares([fold(2), fold(3), fold(4), odd], 0.95)
    assert shares[-1] < 0.7
    assert min(shares[:-1]) > 0.95


def test_equal_scores_of_all_training_images_divide_by_no_zero() -> None:
    same = FoldScores(np.zeros(10, np.float32), np.ones(10, np.float32))
    assert np.isfinite(threshold_at(same.trained, mean_distance([same], 0.95)))
