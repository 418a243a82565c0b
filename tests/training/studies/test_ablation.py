"""The ablation benchmark: what it draws, skips, and averages."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.science import ablation
from pelagia.config import load_config
from pelagia.dataset.schema import Dataset
from pelagia_training.config import TrainConfig
from pelagia_training.network.backbone import Normalized, build_network


@pytest.mark.parametrize("variant", ablation.VARIANTS)
def test_every_variant_is_a_valid_change(variant: str) -> None:
    load_config(ablation.REPOSITORY / "configs/training/baseline.yaml", TrainConfig, ablation.changes_of(variant))


def test_variants_and_changes_can_be_joined() -> None:
    assert ablation.changes_of("size+logit+train.lr=3e-4") == (
        "model.size=true",
        "train.long_tail=logit_adjustment",
        "train.lr=3e-4",
    )
    with pytest.raises(SystemExit, match="there is no variant 'sise'"):
        ablation.changes_of("sise")


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_a_share_of_the_labels_is_taken_of_every_class_in_whole_groups(
    dataset: Dataset, tmp_path: Path, share: float
) -> None:
    fewer = ablation.with_labels(dataset, share, 0, tmp_path)
    whole, part = (Counter(one.class_name for one in each.split("train")) for each in (dataset, fewer))
    assert all(part[name] == max(2, round(share * whole[name])) for name in whole)
    for split in ("val", "test"):
        assert fewer.split(split) == dataset.split(split)
    assert fewer.meta.fingerprint != dataset.meta.fingerprint
    assert all(fewer.file(one).is_file() for one in fewer.records)
    kept, all_of = (Counter((one.class_name, one.group) for one in each.split("train")) for each in (fewer, dataset))
    assert sum(kept[key] != all_of[key] for key in kept) <= len(whole)
    other = ablation.with_labels(dataset, share, 1, tmp_path)
    assert {one.path for one in other.split("train")} != {one.path for one in fewer.split("train")}


def test_an_image_is_seen_in_all_its_orientations() -> None:
    network = build_network("test_resnet", 3, pretrained=False, drop_rate=0.0, options={})
    model = Normalized(network, (0.5,) * 3, (0.5,) * 3).eval()
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    first = ablation.turned(model, images, None, 8)
    assert np.allclose(first, ablation.turned(model, np.rot90(images, 1, (1, 2)).copy(), None, 8), atol=1e-5)
    assert np.allclose(first, ablation.turned(model, images[:, :, ::-1].copy(), None, 8), atol=1e-5)
    mirrored = ablation.turned(model, images, None, 2)
    assert np.allclose(mirrored, ablation.turned(model, images[:, :, ::-1].copy(), None, 2), atol=1e-5)
    with torch.no_grad():
        alone = torch.softmax(model(torch.from_numpy(images)), 1).numpy()
    assert np.allclose(ablation.turned(model, images, None, 1), alone, atol=1e-5)


def test_a_line_that_a_kill_cut_short_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"key": "1"}\n{"key": "2"')
    assert ablation.finished(tmp_path / "a.jsonl") == [{"key": "1"}]


def test_the_table_has_mean_and_spread_and_the_best_of_validation_first(tmp_path: Path) -> None:
    common = {"data": "d", "mode": "confirm", "labels": 1.0, "test_flips": 0.9, "seconds": 60}
    lines = [
        {**common, "key": f"{variant}{seed}", "variant": variant, "val": value + seed / 100, "test": value}
        for variant, value in (("worse", 0.7), ("better", 0.8))
        for seed in (0, 1)
    ]
    rows = [line for line in ablation.table(json.loads(json.dumps(lines)), tmp_path) if line.startswith("| ")]
    assert rows[2] == "| better | 2 | 0.8050 ± 0.0071 | 0.8000 ± 0.0000 | 0.9000 ± 0.0000 |  | 60 |"
    assert rows[3].startswith("| worse | 2 | 0.7050 ± 0.0071 |")
