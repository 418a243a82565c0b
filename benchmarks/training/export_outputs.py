"""The time of an export's longest part: all images through the network, in PyTorch and as the runner does it.

.venv/bin/python -m benchmarks.training.export_outputs RUN --images 64 --orientations 8

Both compute the same images in turns, and the results are ratios within one run. The CPU time of the process is given
too, because other work on the machine changes it less than the time on the clock. The conversion of the network, which
the runner's way needs once, is given apart.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

from pelagia_training.devices import memory_kept
from pelagia_training.export.export import with_options
from pelagia_training.network import outputs
from pelagia_training.network.backbone import Embedder
from pelagia_training.network.onnx_graph import to_onnx
from pelagia_training.runs.folder import read_run
from pelagia_training.runs.load import dataset_of, load_trained


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """The time on the clock, and the CPU time of the process."""
    clock, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock, time.process_time() - cpu


def measure(run: Path, images: int, orientations: int, rounds: int) -> None:
    """Prints the times of each round, and the median ratios."""
    config, state = read_run(run)
    config = with_options(config, orientations, None)
    network, dataset = load_trained(run, config, state), dataset_of(state.dataset, config, state)
    graph: list[bytes] = []
    conversion = seconds(lambda: graph.append(to_onnx(Embedder(network), config.preprocess.size)))
    print(f"conversion: {conversion[0]:.1f} s, {conversion[1]:.1f} s of CPU time")
    outputs.to_onnx = lambda *given: graph[0]  # type: ignore[assignment]
    given = network, dataset, dataset.records[:images], config.preprocess, outputs.no_progress
    ratios = []
    for number in range(1, rounds + 1):
        torch_, runner = (
            seconds(lambda: outputs._by_torch(*given, shown=True)),
            seconds(lambda: outputs._by_runner(*given)),
        )
        ratios.append([slow / fast for slow, fast in zip(torch_, runner, strict=True)])
        shown = (f"{images / clock:.1f} images/s ({cpu / images * 1e3:.1f} ms CPU)" for clock, cpu in (torch_, runner))
        print(f"round {number}: PyTorch {next(shown)}, runner {next(shown)}", flush=True)
    clock, cpu = (median(ratio[place] for ratio in ratios) for place in (0, 1))
    print(f"PyTorch takes {clock:.2f} times the time, and {cpu:.2f} times the CPU time")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--orientations", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with memory_kept(), torch.no_grad():
        measure(asked.run, asked.images, asked.orientations, asked.rounds)
