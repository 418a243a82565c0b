"""What keeping freed memory is worth to training on a CPU: `pelagia_training.devices.memory_kept` on and off, by turns.

.venv/bin/python benchmarks/allocator.py [--network mobilenetv2_100] [--size 128] [--batch 64] [--rounds 5]

The same network takes the same steps on noise (channels last, AdamW). In images/s; page faults are those of one step.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from contextlib import AbstractContextManager, nullcontext

import timm
import torch

from pelagia_training.devices import memory_kept


def main() -> None:
    """Runs the benchmark and prints its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="mobilenetv2_100")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5)
    options = parser.parse_args()
    network = timm.create_model(options.network, num_classes=15).train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    images = torch.randn(options.batch, 3, options.size, options.size).to(memory_format=torch.channels_last)
    targets = torch.randint(0, 15, (options.batch,))

    def step() -> None:
        torch.nn.functional.cross_entropy(network(images), targets).backward()
        optimizer.step()
        optimizer.zero_grad()

    def measured(how: AbstractContextManager[None]) -> tuple[float, float]:
        with how:
            step()
            began, faults = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            for _ in range(options.steps):
                step()
            rate = options.batch * options.steps / (time.perf_counter() - began)
            return rate, (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults) / options.steps

    ratios = []
    for number in range(options.rounds):
        given_back, kept = measured(nullcontext()), measured(memory_kept())
        ratios.append(kept[0] / given_back[0])
        rates = f"given back {given_back[0]:.1f} ({given_back[1]:.0f} page faults), kept {kept[0]:.1f} ({kept[1]:.0f})"
        print(f"round {number + 1}: {rates}; ratio {ratios[-1]:.2f}", flush=True)
    print(f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})")


if __name__ == "__main__":
    main()
