"""Counts of surveys that a real network made, of simulated and of real images."""

import csv
import shutil
from collections import Counter
from pathlib import Path

import pytest

from pelagia.dataset.schema import Dataset
from pelagia.model.metadata import ModelFile
from pelagia.survey.journal import Survey
from pelagia.synthetic.survey import SimulatedSurvey
from pelagia_inference.counts.counts import Counts, count_survey
from pelagia_inference.survey.confirm import confirm, read_labels
from pelagia_inference.survey.runner import classify


def counted(folder: Path) -> Counts:
    with Survey.open(folder) as survey:
        return count_survey(survey)


def per_liter(counts: Counts, sample: str) -> float:
    """All organisms of a sample, per liter."""
    found = [count.per_liter for count in counts.counts if count.sample == sample and count.kind == "class"]
    return sum(value for value in found if value is not None)


def test_a_survey_that_people_labeled_wholly_has_the_counts_that_were_drawn(
    survey: SimulatedSurvey, dataset: Dataset, model: ModelFile, tmp_path: Path
) -> None:
    classify(model, [survey.manifest], tmp_path / "s")
    with Survey.open(tmp_path / "s", to_add=True) as opened:
        result = confirm(opened, read_labels(dataset.root))
    assert result.by_class == Counter({name: count for name, count in survey.counts.items() if count})
    with survey.truth.open(newline="") as file:
        rows = list(csv.DictReader(file))
    drawn = Counter((row["sample"], row["class"]) for row in rows)
    liters = {
        row["sample"]: float(row["sampleSizeValue"]) * {"millilitre": 0.001, "litre": 1.0}[row["sampleSizeUnit"]]
        for row in rows
    }
    classes = [count for count in counted(tmp_path / "s").counts if count.kind == "class"]
    assert {(one.sample, one.name): one.confirmed for one in classes if one.confirmed} == dict(drawn)
    assert all(one.raw == 0 and one.corrected == one.low == one.high == one.confirmed for one in classes)
    for one in classes:
        assert one.per_liter == pytest.approx(drawn[one.sample, one.name] / liters[one.sample])


def test_the_bins_of_an_ifcb_have_concentrations(data_root: Path, model: ModelFile, tmp_path: Path) -> None:
    classify(model, [data_root / "ifcb"], tmp_path / "s")
    counts = counted(tmp_path / "s")
    assert sorted(sample.images for sample in counts.samples) == [17, 19]
    bin_of_whoi = next(sample for sample in counts.samples if sample.images == 19)
    assert bin_of_whoi.volume_l == pytest.approx(0.00488507, rel=1e-5)  # worked out in tests/core/sources/ifcb
    assert per_liter(counts, bin_of_whoi.name) == pytest.approx(19 / 0.00488507, rel=1e-5)


def test_sub_samples_of_an_ecotaxa_export_add_up(data_root: Path, model: ModelFile, tmp_path: Path) -> None:
    source = next((data_root / "ecotaxa_export").glob("*.tsv"))
    with source.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t"))[:22]  # the header, the types, and 20 objects
    header = rows[0]
    (tmp_path / "export").mkdir()
    for number, row in enumerate(rows[2:]):
        row[header.index("sample_tot_vol")] = "30"  # cubic meters
        row[header.index("acq_sub_part")] = "2" if number < 12 else "16"
        shutil.copy(source.parent / row[0], tmp_path / "export")
    with (tmp_path / "export" / "ecotaxa_export.tsv").open("w", newline="") as file:
        csv.writer(file, delimiter="\t").writerows(rows)
    classify(model, [tmp_path / "export"], tmp_path / "s")
    counts = counted(tmp_path / "s")
    assert counts.samples[0].volume_l == 30_000
    assert per_liter(counts, counts.samples[0].name) == pytest.approx((12 * 2 + 8 * 16) / 30_000)


def test_an_ecotaxa_export_without_a_volume_has_counts_alone(data_root: Path, model: ModelFile, tmp_path: Path) -> None:
    classify(model, [data_root / "ecotaxa_export"], tmp_path / "s")
    counts = counted(tmp_path / "s")
    assert sum(count.raw for count in counts.counts if count.kind == "class") == 437
    assert all(count.per_liter is None for count in counts.counts)
    assert any("no volume (column sampleSizeValue)" in text for text in counts.warnings)
