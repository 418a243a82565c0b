"""Writes a survey as one HTML page that needs no network and no other file.

Invariant: the page is made from the survey alone and changes nothing in it. The images of the gallery are read again if
they can be found; what cannot be shown is counted and said. `pelagia.pages` escapes every text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pelagia.errors import InputError
from pelagia.model.card import ModelCard
from pelagia.model.decision import ABSTAINED, ACCEPTED, ROLLED_UP, UNKNOWN
from pelagia.pages.page import Chart, render
from pelagia.survey.journal import Survey
from pelagia.system.console import ProgressCallback
from pelagia.system.files import require_new_file, write_text
from pelagia_inference.counts.counts import Counts
from pelagia_inference.counts.options import CountOptions
from pelagia_inference.counts.table import about_cells
from pelagia_inference.report import composition, depths, facts, scores
from pelagia_inference.report.gallery import Gallery, images_of_each_kind, make_gallery
from pelagia_inference.report.gather import KINDS, Gathered, gather
from pelagia_inference.report.sizes import amounts_of, size_charts
from pelagia_inference.report.worldmap import Position, world_map

REPORT_FILE = "report.html"
MARK = '<meta name="generator" content="pelagia report">'
_MOST_DOUBTFUL = 20
_MOST_WARNINGS = 10
_START = 4000


@dataclass(frozen=True)
class Report:
    """The page that was written: its path, its size in bytes, and the number of images that it shows."""

    path: Path
    bytes: int
    pictures: int


def require_free(path: Path) -> None:
    """Raises InputError unless ``path`` is a new .html, or a page of `write_report`."""
    if path.is_file() and MARK in path.read_bytes()[:_START].decode("utf-8", "replace"):
        return
    require_new_file(path, "report", ".html", ".htm")


def write_report(
    survey: Survey,
    out: Path,
    *,
    counting: CountOptions = CountOptions(),  # noqa: B008 - it is frozen
    most_bytes: int = 3_000_000,
    progress: ProgressCallback | None = None,
) -> Report:
    """Writes the page of a survey.

    Args:
        survey: the open survey.
        out: the file to write; a page that is there already is replaced.
        counting: how images are counted, and the model of a survey that does not keep it.
        most_bytes: the largest size of all thumbnails.
        progress: called with (done, total) while rows and images are read.

    Raises:
        InputError: the survey is empty or lacks a named column, or another file is at ``out``.
        SurveyError: the journal cannot be read.
    """
    require_free(out)
    if not len(survey):
        raise InputError(f"the survey {survey.folder} has no images yet: classify some first")
    card = counting.card(survey)
    data = gather(survey, counting, images_of_each_kind(len(survey.counts_by_class())), progress)
    counts = counting.count(survey, progress)
    bands = depths.count_bands(survey, data, counting, progress)
    gallery = make_gallery(survey, data, most_bytes, progress)
    write_text(out, _page(survey, data, (counts, bands), gallery, card))
    return Report(out, out.stat().st_size, sum(1 for _ in gallery.pictures()))


def _page(
    survey: Survey, data: Gathered, counted: tuple[Counts, Counts | None], gallery: Gallery, card: ModelCard | None
) -> str:
    counts, bands = counted
    return render(
        "pelagia_inference.report",
        "survey.html",
        title=f"Survey {survey.folder.resolve().name}",
        mark=MARK,
        **_summary(survey, data, counts, card),
        **_checks(survey, data),
        **_composition(data, counts, bands),
        **_places(data),
        sizes=size_charts(survey, counts.samples, data.excluded),
        **_scores(survey, data, card),
        **_gallery(gallery),
        **_failures(survey, data),
        unnamed=scores.doubtful_classes(data, survey.classes),
        commands=facts.commands_for_labels(survey),
    )


def _summary(survey: Survey, data: Gathered, counts: Counts, card: ModelCard | None) -> dict[str, Any]:
    failed = sum(survey.counts_by_reason().values())
    images = len(survey)
    done = images - failed
    tiles = [("Images", f"{images:,}", f"{failed:,} failed" if failed else "none failed")]
    tiles.append(
        ("Samples", f"{len(data.samples):,}", f"by {', '.join(data.by)}" if data.by else "no column names them")
    )
    found = sum(1 for count in survey.counts_by_class().values() if count)
    tiles.append(("Classes found", f"{found:,}", f"of {len(survey.classes):,} that the model knows"))
    verdicts = {name: int(table.sum()) for name, table in data.scores.items()}
    if any(name in verdicts for name in (ACCEPTED, ROLLED_UP, ABSTAINED, UNKNOWN)):
        named = verdicts.get(ACCEPTED, 0) + verdicts.get(ROLLED_UP, 0)
        rest = f"{verdicts.get(ABSTAINED, 0):,} abstained, {verdicts.get(UNKNOWN, 0):,} unknown"
        tiles.append(("Named", f"{named / max(done, 1):.0%}", rest))
    if data.confirmed:
        tiles.append(("Labeled by people", f"{len(data.confirmed):,}", "counted apart, never corrected"))
    return {
        "tiles": tiles,
        "warnings": [text[:1].upper() + text[1:] for text in counts.warnings],
        "most_warnings": _MOST_WARNINGS,
        "facts": facts.what_was_run(survey, card),
        "remarks": survey.remarks().warnings(),
    }


def _checks(survey: Survey, data: Gathered) -> dict[str, Any]:
    classified = sum(sample.decisions.total() for sample in data.samples.values())
    flagged, more, flags = facts.flag_tables(survey, classified)
    checked = {"checked": facts.was_checked(survey), "flagged": flagged, "more_flagged": more, "flags": flags}
    return checked | {"folder": str(survey.folder)}


def _composition(data: Gathered, counts: Counts, bands: Counts | None) -> dict[str, Any]:
    order, words = composition.transect(counts, data.samples)
    matrix = composition.matrix_of(counts, order)
    without = facts.samples_without_volume(counts.samples)
    liters = without == 0 and bool(len(matrix.samples)) and any(count.per_liter is not None for count in counts.counts)
    several = len(matrix.samples) > 1
    shown = composition.numbers_shown(counts)
    return {
        "method": counts.method,
        "cells": about_cells(counts),
        "intervals": composition.has_intervals(counts),
        "totals": composition.totals_table(counts),
        "taxa": composition.totals_table(counts, taxa=True),
        "by_sample": composition.samples_table(matrix, liters) if several else None,
        "most_rows": composition.MOST_ROWS,
        "sample_count": len(matrix.samples),
        "liters": liters,
        "without_volume": without,
        "legend": composition.legend(matrix),
        "transect": composition.along_transect(matrix, f"{shown} Samples {words}.", liters) if several else None,
        "most_dots": composition.MOST_DOTS,
        "class_charts": composition.class_charts(matrix, liters) if several else [],
        "depth": depths.depth_chart(data, bands, matrix) if bands else None,
        "amounts": amounts_of(counts, order),
    }


def _places(data: Gathered) -> dict[str, Any]:
    """The map: one dot for each sample if each has a position, else one for each position."""
    placed = {name: sample for name, sample in data.samples.items() if sample.position}
    places: dict[Position, tuple[str, float]] = {}
    if data.by:
        for name, sample in placed.items():
            assert sample.position is not None  # noqa: S101 - it was asked above
            images = sample.decisions.total()
            before = places.get(sample.position)
            named = f"{name}: {images:,} images"
            places[sample.position] = (f"{before[0]}; {named}", before[1] + images) if before else (named, images)
    else:
        places = {place: (f"{images:,} images", images) for place, images in data.positions.items()}
    without = len(data.samples) - len(placed)
    if not places:
        return {"map": None, "without_position": without}
    what = "sample" if data.by else "position"
    lon, lat = ([place[axis] for place in places] for axis in (0, 1))
    alt = (
        f"Map of {len(places):,} places between {min(lat):.2f} and {max(lat):.2f} degrees north, {min(lon):.2f} and "
        f"{max(lon):.2f} degrees east"
    )
    caption = f"One dot for each place of a {what}; its area is the number of images. Coast: Natural Earth."
    return {"map": Chart(world_map(places), alt, caption), "without_position": without}


def _scores(survey: Survey, data: Gathered, card: ModelCard | None) -> dict[str, Any]:
    return {
        "scores": scores.score_charts(data, survey.classes, card.unknown_threshold if card else None),
        "decision_legend": scores.decision_legend(data),
        "doubtful": scores.doubtful_samples(data, _MOST_DOUBTFUL),
        "most_doubtful": _MOST_DOUBTFUL,
        "few_images": scores.FEW_IMAGES,
    }


def _gallery(gallery: Gallery) -> dict[str, Any]:
    pictures = list(gallery.pictures())
    return {
        "gallery": gallery.classes,
        "kinds": KINDS,
        "pictures": len(pictures),
        "gallery_notes": list(_gallery_notes(gallery)),
        "gallery_samples": gallery.samples,
        "gallery_decisions": sorted({one.decision for one in pictures}),
    }


def _gallery_notes(gallery: Gallery) -> Iterator[str]:
    for reason, count in gallery.left_out.items():
        yield f"{count:,} chosen images are not shown: {reason}."
    if gallery.without_size and gallery.classes:
        yield "Images without a scale bar have no pixel size: the column pixel_size_um of the input is missing."


def _failures(survey: Survey, data: Gathered) -> dict[str, Any]:
    reasons, first = facts.failures(survey, data)
    return {"failed": sum(survey.counts_by_reason().values()), "failed_reasons": reasons, "failed_first": first}
