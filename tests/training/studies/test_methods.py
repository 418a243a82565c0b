"""The benchmarks of methods that Pelagia does not have: their formulas, and what they leave as it was."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.harness import REPOSITORY
from benchmarks.methods import paired, survey_methods, training_methods, unlabeled
from pelagia.config import load_config
from pelagia.dataset.schema import Dataset
from pelagia.images.preprocess import PreprocessSpec
from pelagia.taxonomy import load_taxonomy
from pelagia_training.config import TrainConfig
from pelagia_training.data.batches import load_fitted

TAXONOMY = load_taxonomy(REPOSITORY / "configs/taxonomy/flowcam_northsea.yaml")


def test_aligned_embeddings_have_the_mean_and_covariance_of_the_training() -> None:
    random = np.random.default_rng(0)
    wanted = random.normal(size=(500, 4)).astype(np.float32) @ np.diag([1, 2, 3, 4]).astype(np.float32) + 5
    have = random.normal(size=(300, 4)).astype(np.float32)
    moved = unlabeled.aligned(have, wanted, 1.0)
    assert np.allclose(moved.mean(0), wanted.mean(0), atol=1e-3)
    assert np.allclose(np.cov(moved, rowvar=False), np.cov(wanted, rowvar=False), rtol=0.02, atol=0.02)
    assert np.allclose(unlabeled.aligned(have, wanted, 0.0), have, atol=1e-4)
    assert np.isfinite(unlabeled.aligned(have[:1], wanted, unlabeled.share(1, 8))).all()


def test_batch_norm_uses_the_statistics_of_the_batch_and_has_its_own_again_afterwards() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3)).eval()
    images = torch.randn(50, 3, 4, 4) * 3 + 2
    before = network(images)
    with unlabeled.estimated_again(network, 1.0), torch.no_grad():
        normal = network(images)
    assert torch.allclose(normal.mean((0, 2, 3)), torch.zeros(3), atol=1e-4)
    assert torch.allclose(normal.var((0, 2, 3)), torch.ones(3), atol=1e-2)
    with unlabeled.estimated_again(network, 0.0), torch.no_grad():
        assert torch.allclose(network(images), before)
    assert torch.equal(network(images), before)


def test_the_surest_are_the_most_probable_of_each_class() -> None:
    confidence = np.array([0.9, 0.8, 0.7, 0.6, 0.99, 0.95])
    first = np.where(np.arange(6) < 4, confidence, 1 - confidence)
    assert unlabeled.surest(np.stack((first, 1 - first), 1), 0.5).tolist() == [0, 1, 4]


def test_probabilities_spread_only_among_neighbors() -> None:
    features = np.repeat(np.eye(2, dtype=np.float32), 12, axis=0) + 0.01
    start = np.full((24, 2), 0.5, np.float32)
    start[0], start[12] = (1, 0), (0, 1)
    spread = unlabeled.spread_out(start, features, 0.8)
    assert (spread[1:12, 0] > spread[1:12, 1]).all()
    assert (spread[13:, 1] > spread[13:, 0]).all()
    assert np.allclose(unlabeled.spread_out(start, features, 0.0), start)


def test_the_nearest_images_vote() -> None:
    similarity = np.array([[0.9, 0.8, 0.1, 0.0]], np.float32)
    votes = unlabeled.voted(similarity, np.array([1, 1, 0, 0]), 2, 3)
    assert np.allclose(votes, [[0, 1, 0]])


def test_the_chosen_setting_is_the_best_on_val_whatever_test_says() -> None:
    values = {1: (0.9, 0.1), 2: (0.8, 0.7)}
    lines = [
        {"name": "a", "setting": {"k": k}, "seed": seed, "val": val, "test": test}
        for k, (val, test) in values.items()
        for seed in (0, 1)
    ]
    assert [line["setting"] for line in survey_methods.chosen(lines)] == [{"k": 1}] * 2


def test_classes_of_one_genus_are_nearer_than_those_of_other_phyla() -> None:
    distances = training_methods.tree_distances(TAXONOMY)
    place = {name: index for index, name in enumerate(TAXONOMY.names)}
    steps = {
        (one, other): distances[place[one], place[other]]
        for one, other in (("copepod", "copepod_egg_clump"), ("ceratium", "dinophysis"), ("ceratium", "copepod"))
    }
    assert list(steps.values()) == [2, 4, 9]
    assert (distances == distances.T).all()
    assert (np.diag(distances) == 0).all()


def test_each_class_is_in_one_taxon_of_each_rank() -> None:
    ranks = training_methods.rank_memberships(TAXONOMY)
    assert all((rank.sum(1) == 1).all() for rank in ranks)
    assert [rank.shape[1] for rank in ranks] == [3, 8, 10]


def test_the_losses_from_the_taxonomy_prefer_a_mistake_in_the_family() -> None:
    place = {name: index for index, name in enumerate(TAXONOMY.names)}
    target = torch.eye(len(place))[[place["ceratium"]]]
    near, far = (5 * torch.eye(len(place))[[place[name]]] for name in ("dinophysis", "copepod"))
    for patched in (training_methods.tree_smoothing, training_methods.tree_ranks):
        plain = training_methods.training.build_loss
        with patched(TAXONOMY):
            loss = training_methods.training.build_loss("none", np.ones(len(place)))
            assert loss(near, target) < loss(far, target)
        assert training_methods.training.build_loss is plain


def test_the_training_reads_more_images_while_it_is_told_to(dataset: Dataset) -> None:
    config = load_config(REPOSITORY / "configs/training/tiny_cpu.yaml", TrainConfig, [f"dataset={dataset.root}"])
    more = dataset.split("val")
    plain = training_methods.training.read_data(config, 1, print).train
    with training_methods.with_more_images(more):
        assert training_methods.training.read_data(config, 1, print).train == [*plain, *more]
    assert training_methods.training.read_data(config, 1, print).train == plain


def test_images_are_read_without_enlarging_while_the_method_runs(dataset: Dataset) -> None:
    spec, records = PreprocessSpec(size=512), dataset.split("val")[:1]
    plain = load_fitted(dataset, records, spec)
    with training_methods.METHODS["never_enlarge"].patches(TAXONOMY):
        small = load_fitted(dataset, records, spec)
    assert small.shape == plain.shape
    assert (small[0, 0] == small[0, 0, 0]).all()  # the edge is the border, as the crop is in the middle
    assert (small != plain).any()


def test_a_small_crop_keeps_its_size_and_a_large_one_shrinks() -> None:
    small, large = np.zeros((20, 20, 3), np.uint8), np.zeros((200, 200, 3), np.uint8)
    small[5:15, 5:15] = 255
    fitted = training_methods.fit_without_enlarging(small, PreprocessSpec(size=32))
    assert fitted.shape == (32, 32, 3)
    assert (fitted == 255).sum() == 10 * 10 * 3
    assert training_methods.fit_without_enlarging(large, PreprocessSpec(size=32)).shape == (32, 32, 3)


def test_differences_are_paired_by_seed(tmp_path: Path) -> None:
    for seed, value in ((0, 0.5), (1, 0.7)):
        paired.add(tmp_path / "f.jsonl", {"method": "plain", "seed": seed, "val": value})
        paired.add(tmp_path / "f.jsonl", {"method": "other", "seed": seed, "val": value + 0.1})
    with (tmp_path / "f.jsonl").open("a") as file:
        file.write('{"method": "cut')
    rows = list(paired.table(paired.finished(tmp_path / "f.jsonl"), ("val",), {"other": "plain"}))
    assert rows[2:] == ["| plain | 2 | 60.0 ± 14.1 |  |", "| other | 2 | 70.0 ± 14.1 | +10.0 ± 0.0 |"]


@pytest.mark.parametrize("method", training_methods.METHODS)
def test_every_method_is_compared_with_another(method: str) -> None:
    assert training_methods.METHODS[method].against in training_methods.METHODS
