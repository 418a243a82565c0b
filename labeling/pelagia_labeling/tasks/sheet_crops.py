"""A sheet as what it stands for: one task for each of its crops. Everything that reads labels sees crops.

Invariant: a submitted sheet counts as a whole or not at all. It is refused if a crop of it is empty, or if it was
submitted in less time than a person needs to look at its crops. The images of a refused sheet have no label of it.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pelagia.errors import StudioError
from pelagia_labeling.tasks.interface import (
    SHEET_CLASS,
    SHEET_CROP,
    SHEET_UNSURE,
    class_result,
    read_result,
    unsure_result,
)

CROPS, HEADING, SHOWN = "crops", "sheet", "sheet_html"
"""Keys of a sheet's data: the list of its crops, and its heading. Key of a crop's data: the HTML that shows it."""

LEAST_SECONDS = 0.05
"""Least seconds for each crop of a sheet: 36 crops in 1.8 seconds, which is eight movements of the eyes."""

INDEX = "{{idx}}"
"""What stands for the place of a crop in the names of an interface of sheets."""


@dataclass(frozen=True)
class RefusedSheet:
    """A submitted sheet that does not count.

    Attributes:
        task: number of the task in Label Studio.
        heading: what the sheet asks, such as "copepod?".
        reason: why it does not count, in words.
        annotation: the annotation, as the server's API returns it.
    """

    task: int
    heading: str
    reason: str
    annotation: Mapping[str, Any]


@dataclass(frozen=True)
class Crop:
    """One crop of a sheet, in the form of a task of one image.

    Attributes:
        data: the data of the image.
        annotations: the annotations of the sheet that count, each with the result for this crop.
        predictions: the same for the predictions.
    """

    data: dict[str, Any]
    annotations: list[dict[str, Any]]
    predictions: list[dict[str, Any]]


def is_sheet(data: Mapping[str, Any]) -> bool:
    """Whether a task with these data is a sheet."""
    return isinstance(data.get(CROPS), list)


def crops_of(
    data: Mapping[str, Any], annotations: Sequence[dict[str, Any]], predictions: Sequence[dict[str, Any]]
) -> list[Crop]:
    """The crops of a sheet.

    A label that differs from the prediction does not come from a prediction: its ``parent_prediction`` is removed.

    Args:
        data: the data of the sheet.
        annotations: its annotations, as the server's API returns them; refused ones are left out.
        predictions: its predictions, as the server's API returns them.
    """
    count = len(data[CROPS])
    predicted = [_divided(one, count) for one in predictions]
    offered = {one.get("id"): parts for one, parts in zip(predictions, predicted, strict=True)}
    labeled = [_with_changes(_divided(one, count), offered) for one in annotations if not _refusal(one, count)]
    return [
        Crop(
            {key: value for key, value in crop.items() if key != SHOWN},
            [parts[index] for parts in labeled],
            [parts[index] for parts in predicted],
        )
        for index, crop in enumerate(data[CROPS])
    ]


def refused_sheets(task: int, data: Mapping[str, Any], annotations: Sequence[dict[str, Any]]) -> list[RefusedSheet]:
    """The submissions of a sheet that do not count.

    Args:
        task: number of the task.
        data: its data.
        annotations: its annotations, as the server's API returns them.
    """
    reasons = [(one, _refusal(one, len(data[CROPS]))) for one in annotations]
    heading = str(data.get(HEADING) or "")
    return [RefusedSheet(task, heading, reason, one) for one, reason in reasons if reason]


def _divided(entry: dict[str, Any], crops: int) -> list[dict[str, Any]]:
    """An annotation or a prediction of a sheet, as one of each crop."""
    return [{**entry, "result": part, CROPS: crops} for part in regions_of_crops(entry.get("result"), crops)]


def _with_changes(parts: list[dict[str, Any]], offered: Mapping[Any, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    suggestions = offered.get(parts[0].get("parent_prediction")) if parts else None
    if suggestions is None:
        return parts
    return [
        part
        if read_result(part["result"]) == read_result(suggestion["result"])
        else {**part, "parent_prediction": None}
        for part, suggestion in zip(parts, suggestions, strict=True)
    ]


def _refusal(annotation: Mapping[str, Any], crops: int) -> str:
    """Why a submitted sheet does not count; empty if it counts."""
    if annotation.get("was_cancelled"):
        return ""
    empty = [region for region in regions_of_crops(annotation.get("result"), crops) if not region]
    if empty:
        return f"{len(empty)} of its {crops} crops have no class"
    seconds = annotation.get("lead_time")
    if isinstance(seconds, int | float):
        too_soon = f"submitted after {seconds:.1f} seconds, too soon to see its {crops} crops"
        return too_soon if seconds < crops * LEAST_SECONDS else ""
    return "accepted in the list of tasks, without being opened" if annotation.get("parent_prediction") else ""


def regions_of_crops(result: Any, crops: int) -> list[list[dict[str, Any]]]:
    """For each crop, the part of a sheet's ``result`` that belongs to it, as the ``result`` of a task of one image."""
    found: list[list[dict[str, Any]]] = [[] for _ in range(crops)]
    pattern = re.escape(SHEET_CLASS).replace(re.escape(INDEX), r"(\d+)")
    for region in result if isinstance(result, list) else ():
        match = re.fullmatch(pattern, str(region.get("from_name"))) if isinstance(region, dict) else None
        if match and int(match[1]) < crops:
            choices = (region.get("value") or {}).get("choices") or [""]
            name = str(choices[-1])
            found[int(match[1])] = unsure_result() if name == SHEET_UNSURE else class_result(name) if name else []
    return found


def sheet_result(class_names: Sequence[str]) -> list[dict[str, Any]]:
    """The ``result`` of a prediction or an annotation of a sheet, from the class of each crop; empty for no class."""
    return [
        {
            "from_name": SHEET_CLASS.replace(INDEX, str(index)),
            "to_name": SHEET_CROP.replace(INDEX, str(index)),
            "type": "choices",
            "value": {"choices": [name]},
        }
        for index, name in enumerate(class_names)
        if name
    ]


def is_sheet_interface(config: str) -> bool:
    """Whether a project with this labeling configuration has sheets instead of single crops."""
    try:
        nodes = ET.fromstring(config).iter("Choices")  # noqa: S314 - the server's own text, no entities
    except ET.ParseError:
        return False
    return any((node.get("name"), node.get("toName")) == (SHEET_CLASS, SHEET_CROP) for node in nodes)


def refuse_sheets(title: str, config: str, instead: str) -> None:
    """Raises StudioError if a project has sheets.

    Args:
        title: its title.
        config: its labeling configuration.
        instead: what to do instead, in words.
    """
    if is_sheet_interface(config):
        raise StudioError(
            f"the project '{title}' has sheets of crops, and this command is for single crops: {instead}, or choose "
            "another project name"
        )
