"""How fast a CPU takes training steps: memory layouts, number formats, compiled, each with and without kept memory.

.venv/bin/python benchmarks/cpu_step.py [--network mobilenetv2_100] [--size 128] [--batch 64] [--rounds 3]
    [--ways channels-last bf16 ...]

The same network takes the same steps (AdamW) on noise. "kept" is `pelagia_training.devices.memory_kept`, which every
run has; "given back" is what glibc does by itself. All ways take turns. In images/s, medians of the rounds; page faults
are those of one step.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import nullcontext

import timm
import torch

from pelagia_training.devices import memory_kept

WAYS = {
    "contiguous": (torch.contiguous_format, False, False),
    "channels-last": (torch.channels_last, False, False),
    "bf16": (torch.channels_last, True, False),
    "compiled": (torch.channels_last, False, True),
}
"""Memory layout, whether in bfloat16 where autocast allows, whether compiled. The trainer's own is channels-last."""


def stepper(way: str, network_name: str, size: int, batch: int) -> Callable[[], None]:
    layout, half, compiled = WAYS[way]
    network = timm.create_model(network_name, num_classes=15).train().to(memory_format=layout)
    forward = torch.compile(network) if compiled else network
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    images = torch.randn(batch, 3, size, size).to(memory_format=layout)
    targets = torch.randint(0, 15, (batch,))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = torch.nn.functional.cross_entropy(forward(images).float(), targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def main() -> None:
    """Runs the benchmark and prints its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="mobilenetv2_100")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5, help="of each turn, after one that does not count")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    options = parser.parse_args()
    steppers = {way: stepper(way, options.network, options.size, options.batch) for way in options.ways}
    rates, faults = defaultdict(list), {}
    for _ in range(options.rounds):
        for way, step in steppers.items():
            for memory, how in (("given back", nullcontext()), ("kept", memory_kept())):
                with how:
                    step()
                    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt
                    for _step in range(options.steps):
                        step()
                    rates[way, memory].append(options.batch * options.steps / (time.perf_counter() - began))
                    later = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
                    faults[way, memory] = (later - before) / options.steps
    print(f"{options.network} at {options.size} px, batch {options.batch}, {torch.get_num_threads()} threads; images/s")
    print(f"{'':16}{'given back':>12}{'page faults':>13}{'kept':>8}{'page faults':>13}{'ratio':>7}")
    for way in options.ways:
        back, kept = (statistics.median(rates[way, memory]) for memory in ("given back", "kept"))
        few, many = faults[way, "kept"], faults[way, "given back"]
        print(f"{way:16}{back:12.1f}{many:13.0f}{kept:8.1f}{few:13.0f}{kept / back:7.2f}")


if __name__ == "__main__":
    main()
