"""Does learning from unlabelled images first pay, where there are no first weights? SimSiam on FlowCam, by station.

.venv/bin/python benchmarks/pretraining.py --out FOLDER [--epochs 20] [--labels 0.1 1] [--size 64]

A network from nothing looks at the training images without their labels, two augmented views of each at a time
(Chen and He 2021, arXiv 2011.10566), and is then trained as ever, on all labels and on a share of them. Beside the
one of all labels stands one that is trained from nothing for as many images as both saw together, which is what the
time could have bought otherwise.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ablation import source, with_labels
from harness import REPOSITORY
from pelagia.config import load_config
from pelagia.dataset import Dataset
from pelagia_training.augment import Augment, build_augment, sample_seed
from pelagia_training.config import AugmentConfig, TrainConfig
from pelagia_training.data import ahead, load_fitted
from pelagia_training.devices import memory_kept
from pelagia_training.held_out import evaluate_run
from pelagia_training.learner import seed_everything, warmup_cosine
from pelagia_training.network import Normalised, build_network
from pelagia_training.run import save_weights
from pelagia_training.train import train

BACKBONE, BATCH, WIDTH = "mobilenetv2_100", 64, 256
HALF = (0.5, 0.5, 0.5)
VIEWS = AugmentConfig(scale=0.3, shift=0.15, light=0.4, blur=0.3, noise=0.2, erase=0.2)


class SimSiam(nn.Module):
    """Features of two views, each to be told from the other's by a predictor."""

    def __init__(self, network: nn.Module, width: int) -> None:
        super().__init__()
        self.encoder = Normalised(network, HALF, HALF)
        self.projector = nn.Sequential(
            *(nn.Linear(width, WIDTH, bias=False), nn.BatchNorm1d(WIDTH), nn.ReLU()),
            *(nn.Linear(WIDTH, WIDTH, bias=False), nn.BatchNorm1d(WIDTH, affine=False)),
        )
        self.predictor = nn.Sequential(
            *(nn.Linear(WIDTH, WIDTH // 4, bias=False), nn.BatchNorm1d(WIDTH // 4), nn.ReLU()),
            nn.Linear(WIDTH // 4, WIDTH),
        )

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        projected = self.projector(self.encoder(torch.cat((one, other))))
        predicted = self.predictor(projected)
        half = len(one)
        goals = torch.cat((projected[half:], projected[:half])).detach()
        return -nn.functional.cosine_similarity(predicted, goals).mean()


def pretrain(images: NDArray[np.uint8], epochs: int, out: Path) -> float:
    """Leaves the backbone's weights in ``out``; seconds."""
    seed_everything((0,))
    network = build_network(BACKBONE, 0, pretrained=False, drop_rate=0.0, options={})
    model = SimSiam(network, network.num_features).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    steps = len(images) // BATCH
    rate, augment = warmup_cosine(steps, epochs * steps), build_augment(VIEWS)
    began = time.monotonic()
    for epoch in range(epochs):
        losses = []
        order = np.random.default_rng((0, epoch)).permutation(len(images))
        pairs = (views(images, order[step * BATCH : (step + 1) * BATCH], augment, epoch) for step in range(steps))
        for step, pair in enumerate(ahead(pairs)):
            for group in optimizer.param_groups:
                group["lr"] = 1e-3 * rate(epoch * steps + step)
            loss = model(*pair)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        print(f"  epoch {epoch + 1} of {epochs}: similarity {-np.mean(losses):.4f}", flush=True)
    save_weights(out, network, epochs)
    return time.monotonic() - began


def views(images: NDArray[np.uint8], indices: NDArray[np.int64], augment: Augment, epoch: int) -> list[Tensor]:
    seeds = [[sample_seed(view, epoch, index) for index in indices] for view in range(2)]
    return [
        torch.from_numpy(np.stack([augment(images[index], seed) for index, seed in zip(indices, own, strict=True)]))
        for own in seeds
    ]


def supervised(dataset: Dataset, test: Dataset, out: Path, *changes: str) -> tuple[float, float, float]:
    """Macro-F1 on val and test, and the seconds that it took."""
    network = f"model={{backbone: {BACKBONE}, drop_rate: 0.2, mean: {list(HALF)}, std: {list(HALF)}}}"
    settings = [f"dataset={dataset.root}", network, "train.patience=1000", *changes]
    state = train(load_config(REPOSITORY / "configs/training/baseline.yaml", TrainConfig, settings), out)
    return state.metrics["macro_f1"], evaluate_run(out, "test").metrics.macro_f1, state.seconds


def main() -> None:
    """Runs the benchmark and prints its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a folder that does not exist yet")
    parser.add_argument("--epochs", type=int, default=20, help="of looking without labels")
    parser.add_argument("--train-epochs", type=int, default=15, help="of training on all labels")
    parser.add_argument("--labels", type=float, nargs="+", default=[0.1, 1.0], help="shares of the labels to train on")
    parser.add_argument("--size", type=int, default=64)
    options = parser.parse_args()
    out = options.out.absolute()
    out.mkdir(parents=True)
    size = f"preprocess.size={options.size}"
    base = source("flowcam_northsea", out)
    config = load_config(REPOSITORY / "configs/training/baseline.yaml", TrainConfig, [size])
    images = load_fitted(base, base.split("train"), config.preprocess)
    weights = out / "backbone.safetensors"
    with memory_kept():
        took = pretrain(images, options.epochs, weights)
    print(f"{len(images)} images, {options.epochs} epochs without labels: {took:.0f} s")
    print(f"{'labels':>8}{'first':>14}{'epochs':>8}{'val':>8}{'test':>8}{'seconds':>9}")
    for share in options.labels:
        dataset = with_labels(base, share, 0, out)
        epochs = round(options.train_epochs / share**0.5)
        ways = {
            "nothing": (f"train.epochs={epochs}",),
            "pre-trained": (f"train.epochs={epochs}", f"model.weights={weights}"),
        }
        if share == 1:
            ways["longer"] = (f"train.epochs={epochs + 2 * options.epochs}",)
        for first, changes in ways.items():
            val, test, seconds = supervised(dataset, base, out / f"{share:g}-{first}", size, *changes)
            told = changes[0].partition("=")[2]
            print(f"{share:8g}{first:>14}{told:>8}{val:8.4f}{test:8.4f}{seconds:9.0f}", flush=True)


if __name__ == "__main__":
    main()
