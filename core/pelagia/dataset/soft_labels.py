"""Soft labels: the probability of each class that the people who labeled an image leave open.

A dataset may have the column `SOFT_LABEL`. A cell is a JSON object, such as ``{"copepod": 0.93, "nauplius": 0.07}``:
classes of the taxonomy and their probabilities, which sum to 1; the class of the row is the most probable one. An empty
cell means that the row's class is certain. `pelagia label pull --consensus dawid-skene` writes the column, and a
training uses it with ``train.soft_labels``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pelagia.errors import DatasetError

SOFT_LABEL = "soft_label"
"""The column of the manifest."""

_DIGITS = 4
_SUM = 0.01
"""A sum may differ from 1 by this much, because people may write rounded numbers."""


def soft_label_text(probabilities: Mapping[str, float]) -> str:
    """The cell of a row, most probable class first; classes below half a unit of the last digit are left out.

    Returns:
        An empty text if one class has all of the probability.
    """
    rounded = {name: round(float(value), _DIGITS) for name, value in probabilities.items()}
    kept = {name: value for name, value in sorted(rounded.items(), key=lambda item: -item[1]) if value > 0}
    return json.dumps(kept, ensure_ascii=False) if len(kept) > 1 else ""


def parse_soft_label(text: str, class_name: str, classes: Collection[str]) -> dict[str, float]:
    """The probabilities in a cell, with a sum of exactly 1. An empty cell gives the row's class the probability 1.

    Args:
        text: the cell.
        class_name: the class of the row.
        classes: the classes of the dataset.

    Raises:
        ValueError: the cell is wrong; the message says why.
    """
    if not text.strip():
        return {class_name: 1.0}
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        found = None
    if not isinstance(found, dict) or not found:
        raise ValueError(f"'{text}' is not a JSON object of classes and probabilities")
    for name, value in found.items():
        if name not in classes:
            raise ValueError(f"'{name}' is not a class of the dataset")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise ValueError(f"the probability of '{name}' is {value!r}: it must be a number between 0 and 1")
    total = sum(found.values())
    if abs(total - 1) > _SUM:
        raise ValueError(f"the probabilities sum to {total:g} and must sum to 1")
    if found.get(class_name, 0.0) < max(found.values()):
        raise ValueError(f"the class of the row, '{class_name}', is not the most probable one")
    return {name: value / total for name, value in found.items()}


def renamed_soft_label(text: str, class_name: str, rename: Callable[[str], str]) -> str:
    """A cell after classes were renamed or merged; the probabilities of merged classes are added.

    Args:
        text: the cell.
        class_name: the class of the row, after it was renamed.
        rename: a function: old name -> new name.

    Returns:
        The new cell; empty if another class than the row's would now be the most probable one; ``text`` itself if it
        is not a soft label.
    """
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        return text
    if not isinstance(found, dict) or not all(isinstance(value, int | float) for value in found.values()):
        return text
    merged: dict[str, float] = {}
    for name, value in found.items():
        merged[rename(name)] = merged.get(rename(name), 0.0) + value
    return soft_label_text(merged) if merged.get(class_name, 0.0) >= max(merged.values(), default=0.0) else ""


def require_soft_labels(cells: Iterable[tuple[str, str, str]], classes: Sequence[str]) -> None:
    """Checks the column of a manifest.

    Args:
        cells: (what names the row, cell, class of the row) for each row.
        classes: the classes of the dataset.

    Raises:
        DatasetError: a cell is wrong.
    """
    known = set(classes)
    for where, text, class_name in cells:
        if not text:
            continue
        try:
            parse_soft_label(text, class_name, known)
        except ValueError as error:
            raise DatasetError(
                f"{where}: the column '{SOFT_LABEL}' is wrong: {error}; correct the cell, or rename the column if it "
                "has another meaning"
            ) from None


def soft_label_matrix(cells: Sequence[tuple[str, str]], classes: Sequence[str]) -> NDArray[np.float32]:
    """The probabilities as an array: float32, rows x classes; each row sums to 1.

    Args:
        cells: (cell, class of the row), of cells that `require_soft_labels` accepted.
        classes: the classes in the order of the columns. The probability of other classes is left out, and the rest
            is scaled to a sum of 1.
    """
    index = {name: column for column, name in enumerate(classes)}
    matrix = np.zeros((len(cells), len(classes)), np.float32)
    for row, (text, class_name) in enumerate(cells):
        for name, value in (json.loads(text) if text.strip() else {class_name: 1.0}).items():
            if name in index:
                matrix[row, index[name]] = value
    matrix /= matrix.sum(axis=1, keepdims=True)
    return matrix
