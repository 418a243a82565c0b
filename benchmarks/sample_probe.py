"""Is the drawn survey hard enough? A linear classifier on pixels, trained on one survey and asked about another.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/sample_probe.py

32 x 32 grey and colour pixels, standardised, multinomial logistic regression; macro-F1 on a survey of another seed. The
survey is meant to keep it under 0.6, and `make demo` shows what a small network reaches.
"""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pelagia.preprocess import PreprocessSpec, load
from pelagia.sample import draw_survey

SIDE = 32


def pixels(folder: Path, seed: int) -> tuple[NDArray[np.uint8], list[str]]:
    """Fitted images (uint8, N x 32 x 32 x 3) and classes of a drawn survey."""
    survey = draw_survey(folder / str(seed), seed=seed)
    with survey.truth.open(newline="") as file:
        rows = list(csv.DictReader(file))
    spec = PreprocessSpec(size=SIDE)
    images = [load((survey.root / row["path"]).read_bytes(), spec) for row in rows]
    return np.stack(images), [row["class"] for row in rows]


def main() -> None:
    """Runs the probe and prints its figures."""
    with tempfile.TemporaryDirectory(prefix="pelagia-probe-") as folder:
        seen, seen_classes = pixels(Path(folder), seed=1)
        unseen, unseen_classes = pixels(Path(folder), seed=2)
    for name, view in (
        ("grey", lambda images: np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images])),
        ("colour", lambda images: images),
    ):
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, C=0.01))
        probe.fit(view(seen).reshape(len(seen), -1).astype(np.float32), seen_classes)
        answers = probe.predict(view(unseen).reshape(len(unseen), -1).astype(np.float32))
        reached = f1_score(unseen_classes, answers, average="macro")
        print(f"linear classifier, {name:6} {SIDE} px: macro-F1 {reached:.3f}")


if __name__ == "__main__":
    main()
