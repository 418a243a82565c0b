from __future__ import annotations

import numpy as np

from pelagia.embeddings import Embeddings
from pelagia_labeling.sheets.order import by_similarity, divide
from pelagia_labeling.tasks.prelabels import Prelabel


def test_a_sheet_has_crops_of_one_predicted_class_with_the_least_sure_first() -> None:
    suggested = {
        "a": Prelabel("medusa", 0.9),
        "b": Prelabel("copepod", 0.8),
        "c": Prelabel("medusa", 0.6),
        "d": Prelabel("medusa", 0.7),
        "e": Prelabel("medusa", 0.3, accepted=False),
    }
    sheets = divide("abcdef", 2, suggested, ("copepod", "medusa"), None)
    # Crops that the model does not accept, and those that it does not know, never stand among the accepted ones.
    assert sheets == [["b"], ["c", "d"], ["a"], ["e"], ["f"]]


def test_similar_crops_follow_each_other() -> None:
    angles = np.array([0, 90, 2, 88, 1, 89, 3])
    vectors = np.stack([np.cos(np.radians(angles)), np.sin(np.radians(angles))], 1)
    [chain] = by_similarity(vectors)
    jumps = np.abs(np.diff(angles[chain]))
    assert sorted(jumps)[-2] <= 3  # one jump between the two groups, and short steps within them
    embeddings = Embeddings("ab" * 32, tuple("abcdefg"), tuple("abcdefg"), vectors.astype(np.float16))
    sheets = divide("abcdefgh", 4, {}, ("copepod",), embeddings)
    assert sorted(one for sheet in sheets for one in sheet) == list("abcdefgh")
    assert sheets[-1][-1] == "h"  # it has no embedding


def test_clusters_are_lists_of_their_own() -> None:
    rng = np.random.default_rng(0)
    vectors = np.concatenate([rng.normal(center, 0.01, (20, 3)) for center in ([1, 0, 0], [0, 1, 0], [0, 0, 1])])
    parts = by_similarity(vectors, 3)
    assert sorted(map(sorted, parts)) == [list(range(start, start + 20)) for start in (0, 20, 40)]
