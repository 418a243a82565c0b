"""Intervals of biovolume and carbon: what they follow from, and how often they hold the truth."""

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from counting import CLASSES, LITER, TAXONOMY, images, write_survey
from pelagia.survey.additions import Measured, add_measures
from pelagia.survey.journal import Survey
from pelagia_inference.counts.cells import CellTable, Moments, carbon_pg
from pelagia_inference.counts.counts import Count, count_survey
from pelagia_inference.counts.estimate import Estimate, Matter, Numbers, numbers_of, waters_of
from pelagia_inference.counts.poisson import interval
from pelagia_inference.counts.samples import Grouping
from pelagia_inference.counts.tally import Part, Probabilities
from pelagia_inference.counts.taxa import Rows, names_of

ROWS = Rows(names_of(CLASSES, [], TAXONOMY), TAXONOMY, ())
NAMES = [name for _, name, _ in ROWS.labels]
WATER = {"sampleSizeValue": "2", "sampleSizeUnit": "litre"}
VOLUME = 1234.5
A = {**LITER, "sample": "A"}


def moments(values: Iterable[float]) -> Moments:
    found = Moments()
    for value in values:
        found.add(value)
    return found


def part_of(volumes: dict[str, Sequence[float]], **effort: str) -> Part:
    """A sub-sample whose images of each class have these volumes."""
    raw = Counter({name: len(values) for name, values in volumes.items()})
    part = Part(("A",), "A", {**WATER, **effort}, raw=raw, verdicts=Counter({"accepted": raw.total()}))
    for name, values in volumes.items():
        if len(values):
            part.volumes[name] = moments(values)
    return part


def numbers(part: Part) -> Numbers:
    with closing(Probabilities(len(CLASSES))) as probabilities:
        return numbers_of(part, ROWS, None, probabilities)


def with_errors(part: Part, below: Sequence[float], above: Sequence[float]) -> Numbers:
    """The counts with errors of the machine that are made up."""
    found = numbers(part)
    reach = [ROWS.of_classes(np.array(one, np.float64)) for one in (below, above)]
    return replace(found, low=found.value - reach[0], high=found.value + reach[1])


def columns(parts: Sequence[Part], counts: Sequence[Numbers] = ()) -> dict[str, NDArray[np.float64]]:
    water = waters_of(parts, Grouping(("sample",), "sample"))[("A",)]
    matter = Matter(parts, ROWS.names, CellTable())
    return Estimate(ROWS, water, counts or [numbers(part) for part in parts], matter).columns()


def equal(**counts: int) -> dict[str, Sequence[float]]:
    return {name: [VOLUME] * count for name, count in counts.items()}


def test_if_all_volumes_are_equal_the_interval_is_that_of_the_count_times_the_volume() -> None:
    found = columns([part_of(equal(calanus=7, acartia=3, chaetoceros=1, detritus=2))])
    for end in ("low", "high"):
        assert found[f"biovolume_um3_{end}"] == pytest.approx(found[f"counted_{end}"] * VOLUME)
        assert found[f"biovolume_mm3_per_m3_{end}"] == pytest.approx(found[f"per_liter_{end}"] * VOLUME * 1e-6)


def test_the_same_with_errors_of_the_machine_and_sub_samples() -> None:
    parts = [part_of(equal(calanus=7, acartia=3)), part_of(equal(calanus=2, acartia=5), acq_sub_part="4")]
    counts = [with_errors(part, (1, 2, 0, 0), (3, 1, 0, 0)) for part in parts]
    found = columns(parts, counts)
    known = [NAMES.index(name) for name in ("calanus", "acartia", "Copepoda", "Animalia")]
    for end in ("low", "high"):
        wanted = found[f"per_liter_{end}"][known] * VOLUME * 1e-6
        assert found[f"biovolume_mm3_per_m3_{end}"][known] == pytest.approx(wanted)
    calanus = NAMES.index("calanus")
    low = [7 - interval(7)[0], 2 - interval(2)[0]]
    half = (low[0] ** 2 + low[1] ** 2 + (1 + 1) ** 2) ** 0.5  # the chance in each sub-sample, and the machine in both
    assert found["biovolume_um3_low"][calanus] == pytest.approx((9 - half) * VOLUME)


def test_a_class_without_an_image_in_the_sample_has_an_interval_from_the_sizes_of_the_others() -> None:
    here, there = part_of(equal(calanus=3)), part_of({"acartia": [100.0, 300.0]})
    found = columns([here, replace(there, key=("B",), own="B")], [numbers(here)])
    acartia = NAMES.index("acartia")
    ends = found["biovolume_um3_low"][acartia], found["biovolume_um3_high"][acartia]
    assert (found["biovolume_um3"][acartia], *ends) == (0, 0, pytest.approx(200 * interval(0)[1]))
    assert np.isnan(found["biovolume_um3_high"][NAMES.index("chaetoceros")])  # nobody measured one


@pytest.mark.parametrize(("organisms", "sigma"), [(5, 0.5), (5, 1.0), (30, 1.0), (500, 1.0)])
def test_nine_of_ten_intervals_hold_the_biovolume_of_the_water(organisms: int, sigma: float) -> None:
    """Log-normal volumes, with as many organisms in a sample as chance gives; the mean volume is 1."""
    random, surveys, inside = np.random.default_rng(1), 600, 0
    for _ in range(surveys):
        count = max(1, random.poisson(organisms))
        found = columns([part_of({"calanus": random.lognormal(-(sigma**2) / 2, sigma, count)})])
        low, high = (found[f"biovolume_um3_{end}"][0] for end in ("low", "high"))
        inside += low <= organisms <= high
    assert 0.85 <= inside / surveys <= 0.95


def test_some_measured_images_give_a_wider_interval_than_all() -> None:
    volumes = np.random.default_rng(0).lognormal(8, 0.6, 200).tolist()
    all_of_them = columns([part_of({"calanus": volumes})])
    few = part_of({"calanus": volumes})
    few.volumes["calanus"] = moments(volumes[:10])
    widths = [found["biovolume_um3_high"][0] / found["biovolume_um3_low"][0] for found in (all_of_them, columns([few]))]
    assert widths[1] > 1.3 * widths[0]


def test_a_single_measured_image_is_taken_to_differ_as_the_other_classes_do() -> None:
    found = columns([part_of({"calanus": [1000.0], "acartia": [100.0, 400.0, 900.0, 250.0, 1300.0]})])
    alone = columns([part_of({"calanus": [1000.0]})])
    assert alone["biovolume_um3_high"][0] == pytest.approx(1000 * interval(1)[1])
    assert found["biovolume_um3_high"][0] > 1.2 * alone["biovolume_um3_high"][0]


def test_each_sub_sample_has_the_mean_of_its_own_sizes() -> None:
    """Of a net, the large animals are all imaged, and a quarter of the small ones."""
    parts = [part_of({"calanus": [9000.0] * 3}), part_of({"calanus": [100.0] * 5}, acq_sub_part="4")]
    found = columns(parts)
    assert found["biovolume_um3"][0] == 3 * 9000 + 5 * 100
    assert found["biovolume_mm3_per_m3"][0] == pytest.approx((3 * 9000 + 4 * 5 * 100) / 2 * 1e-6)


def counted(folder: Path, volumes: dict[str, float]) -> dict[str, Count]:
    with Survey.open(folder, to_add=True) as survey:
        add_measures(survey, [Measured(path, {"biovolume_um3": volume}) for path, volume in volumes.items()])
        table = CellTable(carbon={"calanus": "protist"})
        return {count.name: count for count in count_survey(survey, cells=table).counts}


def test_carbon_is_a_sum_of_its_own(tmp_path: Path) -> None:
    folder = write_survey(tmp_path / "s", images("a", {"calanus": 4, "detritus": 1}, A))
    volumes = [500.0, 4000.0, 1000.0, 9000.0]
    found = counted(folder, {f"a_calanus_{number}.png": volume for number, volume in enumerate(volumes)})["calanus"]
    carbon = [carbon_pg(volume, is_diatom=False) for volume in volumes]
    assert found.carbon_pg == pytest.approx(sum(carbon))
    differ = 1 + np.var(carbon, ddof=1) / np.mean(carbon) ** 2 * (1 + 4 / 3)
    low, high = (end * differ * np.mean(carbon) for end in interval(4 / differ))
    assert (found.carbon_pg_low, found.carbon_pg_high) == (pytest.approx(low), pytest.approx(high))
    assert found.carbon_ug_per_liter_high == pytest.approx(high / 2 * 1e-6)


def test_a_class_that_was_not_measured_has_no_interval(tmp_path: Path) -> None:
    folder = write_survey(tmp_path / "s", images("a", {"calanus": 2, "acartia": 3}, A))
    found = counted(folder, {"a_calanus_0.png": 1000.0})
    assert (found["acartia"].biovolume_um3_low, found["acartia"].biovolume_um3_high) == (None, None)
    assert found["Copepoda"].biovolume_mm3_per_m3_high is None
    assert found["calanus"].biovolume_um3_high == pytest.approx(1000 * interval(2)[1])
