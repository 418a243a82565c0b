"""How often the 90% interval of the biovolume of a class holds the biovolume of the water, in simulated samples.

The number of organisms in a sample is Poisson, and their volumes are log-normal. The survey has one sample and one
class, so nothing else shows how much the sizes differ: this is the hardest case. Samples without an organism are left
out. Each row is a standard deviation of the natural logarithm of the volume; 0: all are equal.

    .venv/bin/python -m benchmarks.science.biovolume

Target: 85% to 95% where all images are measured. The command exits with 1 if it is missed.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from pelagia_inference.counts import poisson
from pelagia_inference.counts.cells import Moments

ORGANISMS = (5, 30, 500)
SIGMAS = (0.0, 0.3, 0.5, 0.8, 1.0, 1.2)
SHARES = (1.0, 0.5)
TARGET = (0.85, 0.95)


def coverage(organisms: int, sigma: float, share: float, samples: int) -> tuple[float, float]:
    """The share of intervals that hold the truth, and the median of the high end divided by the truth.

    Args:
        organisms: the mean number in a sample.
        sigma: standard deviation of the logarithm of the volume. The mean volume is 1.
        share: of the images that are measured, at least one.
        samples: number of samples.
    """
    random = np.random.default_rng(0)
    sums = []
    for count in random.poisson(organisms, samples):
        volumes = random.lognormal(-(sigma**2) / 2, sigma, count)[: max(1, round(share * count))]
        if count:
            found = Moments(len(volumes), float(volumes.sum()), float((volumes**2).sum()))
            total = count * found.mean
            sums.append((total, total * found.mean * (1 + count * found.spread / found.count), found.mean))
    low, high = poisson.of_sums(*np.array(sums).T)
    return float(((low <= organisms) & (organisms <= high)).mean()), float(np.median(high) / organisms)


def main() -> int:
    """Prints a table for each share of measured images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=4000, help="simulated samples of each number and spread")
    samples = parser.parse_args().samples
    missed = False
    for share in SHARES:
        print(f"{share:.0%} of the images measured: coverage (median high end / truth)")
        print("sd of log" + "".join(f"{f'n = {organisms}':>16}" for organisms in ORGANISMS))
        for sigma in SIGMAS:
            found = [coverage(organisms, sigma, share, samples) for organisms in ORGANISMS]
            print(f"{sigma:9.1f}" + "".join(f"{f'{inside:.3f} ({end:.2f})':>16}" for inside, end in found), flush=True)
            missed |= share == 1 and any(not TARGET[0] <= inside <= TARGET[1] for inside, _ in found)
    print("target missed" if missed else "target reached")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
