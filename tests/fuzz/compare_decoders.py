"""Decodes an image of each kind of `tests/support/encoders/image_kinds.py`, and counts right and wrong pictures.

    .venv/bin/python -m tests.fuzz.compare_decoders

The exit code is 1 if a wrong picture passed for a right one.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

import pelagia  # noqa: F401 - before OpenCV, whose messages it turns off

sys.path.append(str(Path(__file__).resolve().parents[1] / "support"))
from encoders.image_kinds import FAMILIES, Made
from pelagia.images.preprocess import ImageError, decode


def compare(images: Iterable[Made]) -> tuple[Counter[str], list[str], Counter[str]]:
    """The number of ``right`` pictures and of refused ones by reason; the names of the wrong ones; and the messages."""
    counts: Counter[str] = Counter()
    messages: Counter[str] = Counter()
    wrong = []
    for made in images:
        try:
            pixels = decode(made.data)
        except ImageError as error:
            counts[error.reason] += 1
            messages[f"{error.reason}: {error}"] += 1
            continue
        difference = (
            int(np.abs(pixels.astype(int) - made.shows).max()) if pixels.shape == made.shows.shape else pixels.shape
        )
        if isinstance(difference, int) and difference <= made.tolerance:
            counts["right"] += 1
        else:
            wrong.append(f"{made.name}: differs by {difference}")
    return counts, wrong, messages


def main() -> int:
    failed = 0
    total: Counter[str] = Counter()
    for family, images in FAMILIES.items():
        counts, wrong, messages = compare(images())
        failed += len(wrong)
        total += counts
        print(f"{family}: {counts.total() + len(wrong)} images, {dict(counts)}, {len(wrong)} wrong", flush=True)
        for text in wrong[:20]:
            print(f"    WRONG {text}")
        for text, count in messages.most_common():
            print(f"    {count:5d} {text}")
    print(f"in total {total.total() + failed} images, {dict(total)}, {failed} wrong")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
