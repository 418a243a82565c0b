"""The strategies of `pelagia label select` on small pools whose right answer is known."""

from collections import Counter

import numpy as np
import pytest

pytest.importorskip("sklearn")

from pelagia_labeling.selection.pool import Candidate, Pool, reduced
from pelagia_labeling.selection.strategies import STRATEGIES, Picks, entropy_scores, margin_scores

NO_ROWS = np.array([], np.intp)


def pool_of(images: int = 300, seed: int = 0, **others: object) -> Pool:
    """Clusters in 16 dimensions, and random probabilities."""
    random = np.random.default_rng(seed)
    centers = random.normal(size=(10, 16))
    vectors = centers[random.integers(10, size=images)] + random.normal(size=(images, 16)) * 0.2
    probabilities = random.dirichlet(np.full(5, 0.5), images).astype(np.float32)
    known = {
        "probabilities": probabilities,
        "classes": tuple("abcde"),
        "unknown": random.normal(size=images).astype(np.float32),
        "disagreement": random.random(images).astype(np.float32),
        "vectors": reduced(vectors),
    }
    rows = [Candidate(f"{at}.png", f"{at:064x}", f"/{at}.png") for at in range(images)]
    return Pool(rows, **{**known, **others})  # type: ignore[arg-type]


def choose(name: str, pool: Pool, count: int, free: np.ndarray | None = None, seed: int = 0) -> Picks:
    rows = np.arange(len(pool), dtype=np.intp) if free is None else free
    return STRATEGIES[name].choose(pool, rows, NO_ROWS, count, np.random.default_rng(seed))


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_chooses_free_rows_once_and_the_same_again_with_the_same_seed(name: str) -> None:
    pool, free = pool_of(), np.arange(0, 300, 2, dtype=np.intp)
    found = choose(name, pool, 40, free)
    assert len(found.rows) == len(found.scores) == len(set(found.rows.tolist())) == 40
    assert set(found.rows.tolist()) <= set(free.tolist())
    assert choose(name, pool, 40, free).rows.tolist() == found.rows.tolist()
    assert sorted(choose(name, pool, 1000, free).rows.tolist()) == free.tolist()


def test_the_least_sure_image_comes_first() -> None:
    probabilities = np.array([[0.9, 0.05, 0.05], [0.4, 0.35, 0.25], [0.48, 0.48, 0.04]], np.float32)
    pool = pool_of(3, probabilities=probabilities, classes=("a", "b", "c"))
    assert choose("margin", pool, 3).rows.tolist() == [2, 1, 0]
    assert choose("entropy", pool, 3).rows.tolist() == [1, 2, 0]
    assert margin_scores(probabilities) == pytest.approx([0.15, 0.95, 1.0])
    assert entropy_scores(np.full((1, 4), 0.25, np.float32)) == pytest.approx([1.0])


def test_k_centre_takes_the_image_that_is_farthest_from_all_that_are_labeled_or_chosen() -> None:
    pool = pool_of(120)
    vectors, labeled = pool.vectors, pool_of(7, seed=5).vectors
    assert vectors is not None
    assert labeled is not None
    pool = pool_of(120, labeled=labeled)
    expected: list[int] = []
    for _ in range(15):
        known = np.concatenate([labeled, vectors[expected]])
        distances = [min(1 - float(row @ other) for other in known) for row in vectors]
        expected.append(int(np.argmax(distances)))
    assert choose("k-centre", pool, 15).rows.tolist() == expected


def test_clusters_take_one_image_of_each_group_of_similar_images() -> None:
    random = np.random.default_rng(1)
    groups = np.repeat(np.arange(6), (40, 30, 20, 10, 5, 3))
    vectors = np.eye(6, 8)[groups] + random.normal(size=(108, 8)) * 0.02
    found = choose("clusters", pool_of(108, vectors=reduced(vectors)), 6)
    assert groups[found.rows].tolist() == [0, 1, 2, 3, 4, 5]
    assert found.scores == pytest.approx(np.array([40, 30, 20, 10, 5, 3]) / 108)


def test_the_default_takes_unsure_images_and_not_two_that_are_alike() -> None:
    vectors = np.eye(20, dtype=np.float32)[np.repeat(np.arange(20), 10)]
    probabilities = np.tile(np.array([[0.98, 0.02]], np.float32), (200, 1))
    unsure = [at for at in range(50) if at % 10 < 5]  # 25 unsure images of 5 kinds
    probabilities[unsure] = [0.52, 0.48]
    found = choose("margin-clusters", pool_of(200, vectors=vectors, probabilities=probabilities, classes=("a", "b")), 5)
    assert sorted(found.rows // 10) == [0, 1, 2, 3, 4]


def test_rare_takes_the_predicted_classes_with_the_fewest_labels_in_turn() -> None:
    predicted = np.repeat([0, 1, 2], (20, 10, 2))
    probabilities = np.eye(3, dtype=np.float32)[predicted] * 0.9 + np.float32(0.1 / 3)
    pool = pool_of(32, probabilities=probabilities, classes=("a", "b", "c"), labeled_counts={"a": 5, "b": 1})
    found = choose("rare", pool, 8)
    assert Counter(predicted[found.rows].tolist()) == {1: 5, 2: 2, 0: 1}
    assert predicted[found.rows[0]] == 2


def test_a_random_sample_takes_each_image_with_the_same_probability() -> None:
    pool = pool_of(20)
    counts = Counter(row for seed in range(2000) for row in choose("random", pool, 5, seed=seed).rows.tolist())
    assert min(counts.values()) > 420  # 500 are expected, with a standard deviation of 19
    assert max(counts.values()) < 580
    assert choose("random", pool, 5).scores == pytest.approx(np.full(5, 0.25))


def test_reduced_vectors_keep_the_similarity_of_images() -> None:
    random = np.random.default_rng(0)
    vectors = (random.normal(size=(400, 12)) @ random.normal(size=(12, 300))).astype(np.float16)
    unit = vectors.astype(np.float32) / np.linalg.norm(vectors.astype(np.float32), axis=1, keepdims=True)
    small = reduced(vectors)
    assert small.shape == (400, 128)
    assert np.abs(small @ small.T - unit @ unit.T).max() < 1e-2
