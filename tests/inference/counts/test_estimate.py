"""Corrected counts: what is added up, and how intervals of the water follow. The correction itself is made up here."""

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from counting import CLASSES, TAXONOMY
from pelagia_inference.counts.cells import CellTable
from pelagia_inference.counts.estimate import Estimate, Matter, Numbers, numbers_of, waters_of
from pelagia_inference.counts.poisson import interval
from pelagia_inference.counts.samples import Grouping
from pelagia_inference.counts.tally import Part, Probabilities, merged
from pelagia_inference.counts.taxa import Rows, names_of

LITERS = {"sampleSizeValue": "2", "sampleSizeUnit": "litre"}
ROWS = Rows(names_of(CLASSES, ["new"], TAXONOMY), TAXONOMY, ())
NAMES = [name for _, name, _ in ROWS.labels]


def corrector(
    probabilities: NDArray[np.float32], places: int, unknown_share: float | None
) -> tuple[Any, Sequence[str]]:
    """10 images: 7 calanus (5 to 9), 2 acartia (1 to 6), 1 chaetoceros (0 to 2)."""
    assert places == 1
    assert probabilities.shape == (10, len(CLASSES))
    assert unknown_share == 0.2
    estimate, low, high = [7.0, 2.0, 1.0, 0.0], [5.0, 1.0, 0.0, 0.0], [9.0, 6.0, 2.0, 0.5]
    found = SimpleNamespace(estimate=np.array(estimate), low=np.array(low), high=np.array(high), method="made up")
    return found, ["look at it"]


@pytest.fixture
def part() -> Part:
    """6 calanus and 4 acartia of the machine; people: 3 acartia and 1 of another name."""
    return Part(
        ("A",),
        "A",
        LITERS,
        raw=Counter(calanus=6, acartia=4),
        confirmed=Counter(acartia=3, new=1),
        verdicts=Counter({"accepted": 8, "unknown": 2}),
    )


def corrected(part: Part) -> Numbers:
    with closing(Probabilities(len(CLASSES))) as probabilities:
        for _ in range(10):
            part.rows.append(probabilities.add(np.full(len(CLASSES), 0.25, np.float32)))
        return numbers_of(part, ROWS, corrector, probabilities)


def value_of(numbers: Numbers, name: str) -> tuple[float, float, float]:
    at = NAMES.index(name)
    return float(numbers.value[at]), float(numbers.low[at]), float(numbers.high[at])


def test_confirmed_images_are_added_to_the_corrected_ones(part: Part) -> None:
    numbers = corrected(part)
    assert value_of(numbers, "acartia") == (2 + 3, 1 + 3, 6 + 3)
    assert value_of(numbers, "new") == (1, 1, 1)
    assert (numbers.method, numbers.warnings) == ("made up", ("look at it",))


def test_the_interval_of_a_taxon_adds_up_those_of_its_classes_and_stays_below_the_images(part: Part) -> None:
    assert value_of(corrected(part), "Copepoda") == (9 + 3, 6 + 3, 10 + 3)  # 9 + 6 is more than there are images


def test_the_interval_of_a_concentration_has_both_errors_in_quadrature(part: Part) -> None:
    numbers = corrected(part)
    water = waters_of([part], Grouping(("sample",), "sample"))[("A",)]
    columns = Estimate(ROWS, water, [numbers], Matter([part], ROWS.names, CellTable())).columns()
    at = NAMES.index("calanus")
    assert columns["per_liter"][at] == 3.5
    low, high = interval(7)
    assert columns["per_liter_low"][at] == pytest.approx((7 - ((7 - low) ** 2 + (7 - 5) ** 2) ** 0.5) / 2)
    assert columns["per_liter_high"][at] == pytest.approx((7 + ((high - 7) ** 2 + (9 - 7) ** 2) ** 0.5) / 2)
    assert (columns["corrected"][at], columns["low"][at], columns["high"][at]) == (7, 5, 9)


def test_probabilities_are_read_back_in_any_order() -> None:
    rows = np.random.default_rng(0).dirichlet(np.ones(4), 50).astype(np.float32)
    with closing(Probabilities(4)) as probabilities:
        assert [probabilities.add(row) for row in rows] == list(range(50))
        for wanted in ([], [3], [0, 1, 2, 7, 8, 49], list(range(50))):
            assert np.array_equal(probabilities.read(wanted), rows[wanted].reshape(-1, 4))


def seen(sample: str, *stations: str, people: bool = False) -> Part:
    """A sub-sample of two images at these stations; ``people``: both were confirmed."""
    counts = {"confirmed": Counter(calanus=2)} if people else {"verdicts": Counter(accepted=2)}
    found = Part((), sample, {}, **counts)
    found.where["station"].extend(stations)
    return found


def test_the_images_of_a_sample_come_from_as_many_places_as_its_columns_say() -> None:
    assert merged([seen("A", "S1"), seen("B", "S1")]).places == {"S1"}, "two samples of one station"
    assert merged([seen("A", "S1"), seen("B", "S2")]).places == {"S1", "S2"}
    assert merged([seen("A", "S1", "S2")]).places == {"S1", "S2"}, "no column tells the samples apart"
    assert merged([seen("A"), seen("B")]).places == {"A", "B"}, "no column names a place"
    assert merged([seen("A", "S1"), seen("B", "S2", people=True)]).places == {"S1"}, "people make no errors of a model"
