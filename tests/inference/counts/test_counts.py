"""Counts of small surveys whose numbers were worked out by hand."""

from pathlib import Path

import pytest

from counting import LITER, card, image, images, write_survey
from pelagia.errors import InputError
from pelagia.model.decision import Verdict
from pelagia.survey.additions import Confirmed, Flag, add_confirmed, set_flags
from pelagia.survey.journal import Prediction, Survey
from pelagia_inference.counts.counts import Count, Counts, count_survey
from pelagia_inference.counts.table import about
from predictions.scores import counting, scores


def counted(folder: Path, *by: str, **options: object) -> Counts:
    with Survey.open(folder) as survey:
        return count_survey(survey, by, **options)  # type: ignore[arg-type]


def one(counts: Counts, name: str, sample: str = "A") -> Count:
    return next(count for count in counts.counts if count.name == name and count.sample == sample)


def at(sample: str, **columns: str) -> dict[str, str]:
    return {**LITER, "sample": sample, **columns}


def test_each_sample_has_the_counts_of_its_classes_and_of_the_taxa_above(tmp_path: Path) -> None:
    rows = images("a", {"calanus": 6, "acartia": 3, "chaetoceros": 1}, at("A")) + images("b", {"detritus": 2}, at("B"))
    counts = counted(write_survey(tmp_path / "s", rows))
    assert [(sample.name, sample.images, sample.volume_l) for sample in counts.samples] == [
        ("A", 10, 2.0),
        ("B", 2, 2.0),
    ]
    found = {count.name: count.raw for count in counts.counts if count.sample == "A"}
    assert found == {
        "calanus": 6, "acartia": 3, "chaetoceros": 1, "detritus": 0,
        "Animalia": 9, "Copepoda": 9, "Calanus": 6, "Acartia": 3, "Bacillariophyceae": 1, "Chaetoceros": 1,
    }  # fmt: skip
    assert one(counts, "Copepoda").rank == "class"
    assert one(counts, "calanus").rank == ""
    assert one(counts, "calanus").per_liter == 3.0  # 6 images in 2 liters
    assert one(counts, "calanus", "B").per_liter == 0.0
    assert one(counts, "calanus").corrected is None


def test_the_interval_without_a_correction_is_that_of_a_poisson_count(tmp_path: Path) -> None:
    counts = counted(write_survey(tmp_path / "s", images("a", {"calanus": 10}, at("A"))))
    found = one(counts, "calanus")  # the table of Garwood (1936): 10 counted, 90%: 5.43 to 16.96
    assert (found.counted_low, found.counted_high) == pytest.approx((5.4254, 16.9622), abs=1e-4)
    assert (found.per_liter_low, found.per_liter_high) == pytest.approx((5.4254 / 2, 16.9622 / 2), abs=1e-4)
    nothing = one(counts, "acartia")  # none in 2 liters: fewer than -ln(0.05) = 2.996
    assert (nothing.per_liter_low, nothing.per_liter_high) == pytest.approx((0.0, 2.9957 / 2), abs=1e-4)
    assert any("are not corrected" in text for text in counts.warnings)


def test_what_people_confirmed_is_counted_apart(tmp_path: Path) -> None:
    folder = write_survey(tmp_path / "s", images("a", {"calanus": 4}, at("A")))
    with Survey.open(folder, to_add=True) as survey:
        add_confirmed(survey, [Confirmed("a_calanus_0.png", "acartia"), Confirmed("a_calanus_1.png", "calanus")])
    counts = counted(folder)
    assert (one(counts, "calanus").raw, one(counts, "calanus").confirmed) == (2, 1)
    assert (one(counts, "acartia").raw, one(counts, "acartia").confirmed) == (0, 1)
    assert (one(counts, "Copepoda").raw, one(counts, "Copepoda").confirmed) == (2, 2)


def test_a_sample_that_people_reviewed_wholly_has_no_error_of_the_machine(tmp_path: Path) -> None:
    folder = write_survey(tmp_path / "s", images("a", {"calanus": 2}, at("A")))
    with Survey.open(folder, to_add=True) as survey:
        add_confirmed(survey, [Confirmed(f"a_calanus_{number}.png", "new thing") for number in range(2)])
    counts = counted(folder)
    new = one(counts, "new thing")
    assert (new.raw, new.confirmed, new.corrected, new.low, new.high) == (0, 2, 2.0, 2.0, 2.0)
    assert not any("are not corrected" in text for text in counts.warnings)
    assert any("no classes of the model: new thing" in text for text in counts.warnings)


def test_a_taxon_that_people_gave_counts_for_the_taxa_above_it(tmp_path: Path) -> None:
    folder = write_survey(tmp_path / "s", images("a", {"calanus": 1}, at("A")))
    with Survey.open(folder, to_add=True) as survey:
        add_confirmed(survey, [Confirmed("a_calanus_0.png", "Copepoda")])
    by_kind = {(count.kind, count.name): count.confirmed for count in counted(folder).counts}
    assert by_kind["taxon", "Copepoda"] == by_kind["taxon", "Animalia"] == by_kind["class", "Copepoda"] == 1
    assert by_kind["taxon", "Calanus"] == 0


def test_sub_samples_of_a_net_add_up_as_in_ecotaxa(tmp_path: Path) -> None:
    net = {"sampleSizeValue": "50", "sampleSizeUnit": "cubic metre", "eventDate": "2024-05-01", "sample": "N"}
    large = images("d1", {"calanus": 5}, {**net, "acq_sub_part": "2"})  # a half of the large animals
    small = images("d2", {"calanus": 10, "acartia": 20}, {**net, "acq_sub_part": "16"})  # 1/16 of the small ones
    counts = counted(write_survey(tmp_path / "s", large + small))
    calanus = one(counts, "calanus", "N")
    assert calanus.organisms == 5 * 2 + 10 * 16
    assert calanus.per_liter == pytest.approx((5 * 2 + 10 * 16) / 50_000)
    assert one(counts, "Copepoda", "N").organisms == 5 * 2 + 30 * 16
    assert one(counts, "Copepoda", "N").per_liter == pytest.approx(490 / 50_000)
    low = 170 - ((2 * (5 - 1.9701)) ** 2 + (16 * (10 - 5.4254)) ** 2) ** 0.5  # each part has its own chance
    assert calanus.per_liter_low == pytest.approx(low / 50_000, rel=1e-4)
    assert counts.samples[0].fraction == pytest.approx(35 / (5 * 2 + 30 * 16))


def test_a_dilution_multiplies(tmp_path: Path) -> None:
    counts = counted(write_survey(tmp_path / "s", images("a", {"calanus": 3}, at("A", dilution="10"))))
    assert one(counts, "calanus").per_liter == 15.0  # 3 images x 10 / 2 liters


def test_samples_that_are_put_together_add_up_their_volumes(tmp_path: Path) -> None:
    rows = images("a", {"calanus": 6}, at("A", station="ST1"))
    rows += images("b", {"calanus": 2}, at("B", station="ST1", sampleSizeValue="6"))
    counts = counted(write_survey(tmp_path / "s", rows), "station")
    assert one(counts, "calanus", "ST1").per_liter == 1.0  # 8 images in 2 + 6 liters
    assert one(counts, "acartia", "ST1").per_liter_high == pytest.approx(2.9957 / 8, abs=1e-4)  # one sample of 8 liters
    assert counts.samples[0].pooled == 2
    assert any("volumes added up" in text for text in counts.warnings)


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"sampleSizeValue": ""}, "no volume"),
        ({"sampleSizeValue": "0"}, "'0' is not a number above 0"),
        ({"sampleSizeUnit": "furlong"}, "the unit 'furlong' is not known"),
        ({"sampleSizeUnit": ""}, "the volume has no unit"),
        ({"acq_sub_part": "0.25"}, "'0.25' is not a number of 1 or more (column acq_sub_part: 4 for a quarter)"),
        ({"dilution": "0.1"}, "'0.1' is not a number of 1 or more (column dilution"),
        ({"acq_sub_part": "4", "subsample_fraction": "1/8"}, "acq_sub_part 4 and subsample_fraction 0.125 contradict"),
        ({"instrument": "PlanktoScope v2.6"}, "a PlanktoScope needs the columns acq_imaged_volume"),
    ],
)
def test_a_volume_that_is_not_known_gives_no_concentration(tmp_path: Path, columns: dict[str, str], why: str) -> None:
    counts = counted(write_survey(tmp_path / "s", images("a", {"calanus": 6}, at("A", **columns))))
    assert one(counts, "calanus").per_liter is None
    assert one(counts, "calanus").raw == 6
    assert one(counts, "calanus").organisms == (
        None if columns.keys() & {"acq_sub_part", "dilution", "instrument"} else 6
    )
    assert why in counts.samples[0].no_volume
    assert any("1 of 1 samples have no concentration" in text and why in text for text in counts.warnings)


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"sampleSizeValue": "3"}, "its images have different volumes (2 litre, 3 litre"),
        ({"sampleSizeValue": "2000", "sampleSizeUnit": "ml"}, "volumes in different units (2 litre, 2000 millilitre"),
        ({"sampleSizeValue": ""}, "no volume"),
    ],
)
def test_one_sample_has_one_volume(tmp_path: Path, columns: dict[str, str], why: str) -> None:
    rows = images("a", {"calanus": 6}, at("A")) + images("b", {"calanus": 1}, at("A", **columns))
    counts = counted(write_survey(tmp_path / "s", rows))
    assert one(counts, "calanus").per_liter is None
    assert why in counts.samples[0].no_volume


@pytest.mark.parametrize(
    ("columns", "liters"),
    [
        ({"sampleSizeUnit": "L"}, 2.0),
        ({"sampleSizeUnit": "mL"}, 0.002),
        ({"sampleSizeUnit": "Cubic metre"}, 2000.0),
        ({"sampleSizeUnit": "m³"}, 2000.0),
        ({"sampleSizeValue": "2,5"}, 2.5),
    ],
)
def test_units_have_several_spellings(tmp_path: Path, columns: dict[str, str], liters: float) -> None:
    counts = counted(write_survey(tmp_path / "s", images("a", {"calanus": 1}, at("A", **columns))))
    assert counts.samples[0].volume_l == pytest.approx(liters)


def test_a_planktoscope_counts_a_part_of_the_concentrated_sample(tmp_path: Path) -> None:
    columns = {"acq_imaged_volume": "5", "sample_concentrated_sample_volume": "100", "sample_dilution_factor": "2"}
    counts = counted(write_survey(tmp_path / "s", images("a", {"calanus": 3}, at("A", **columns))))
    assert one(counts, "calanus").organisms == 3 * 100 / 5 * 2


@pytest.mark.parametrize(("dilution", "organisms"), [("2", 3 * 100 / 5 * 2), ("4", None)])
def test_a_dilution_that_is_stated_twice_counts_once_or_contradicts(
    tmp_path: Path, dilution: str, organisms: float | None
) -> None:
    columns = {"acq_imaged_volume": "5", "sample_concentrated_sample_volume": "100", "sample_dilution_factor": "2"}
    rows = images("a", {"calanus": 3}, at("A", **columns, dilution=dilution))
    counts = counted(write_survey(tmp_path / "s", rows))
    assert one(counts, "calanus").organisms == organisms
    why = "" if organisms else "dilution 4 and sample_dilution_factor 2 contradict each other"
    assert counts.samples[0].no_volume == why


def test_a_motoda_fraction_may_be_a_ratio(tmp_path: Path) -> None:
    counts = counted(write_survey(tmp_path / "s", images("a", {"calanus": 3}, at("A", subsample_fraction="1/8"))))
    assert one(counts, "calanus").organisms == 24


def test_images_without_a_sample_are_counted_and_said(tmp_path: Path) -> None:
    rows = images("a", {"calanus": 6}, at("A")) + images("b", {"calanus": 2}, at(""))
    counts = counted(write_survey(tmp_path / "s", rows))
    assert one(counts, "calanus", "(none)").raw == 2
    assert one(counts, "calanus", "(none)").per_liter is None
    assert any("2 images have no value in the column sample" in text for text in counts.warnings)


def test_depth_is_put_into_bins_by_its_middle(tmp_path: Path) -> None:
    def depth(sample: str, top: str, bottom: str) -> dict[str, str]:
        return at(sample, station="ST1", minimumDepthInMeters=top, maximumDepthInMeters=bottom)

    rows = images("a", {"calanus": 6}, depth("A", "0", "20")) + images("b", {"calanus": 2}, depth("B", "40", "80"))
    rows += images("c", {"calanus": 1}, depth("C", "", "")) + images("d", {"calanus": 4}, depth("D", "20", "30"))
    counts = counted(write_survey(tmp_path / "s", rows), "station", "depth", depth_bins=(0, 50, 100))
    found = {count.sample: (count.raw, count.per_liter) for count in counts.counts if count.name == "calanus"}
    assert found == {"ST1/0-50": (10, 2.5), "ST1/50-100": (2, 1.0), "ST1/(none)": (1, 0.5)}
    assert any("1 images have no depth" in text for text in counts.warnings)
    assert any("2 images have a depth range that goes beyond one bin" in text for text in counts.warnings)
    without = counted(tmp_path / "s", "station", "depth")
    assert without.by == ("station", "minimumDepthInMeters", "maximumDepthInMeters")


def test_a_depth_range_in_the_wrong_order_is_one_range_and_is_said(tmp_path: Path) -> None:
    columns = at("A", minimumDepthInMeters="80", maximumDepthInMeters="60")
    counts = counted(write_survey(tmp_path / "s", images("a", {"calanus": 6}, columns)), depth_bins=(0, 50, 100))
    assert [sample.name for sample in counts.samples] == ["A/50-100"]
    assert any(text.startswith("6 images have a minimumDepthInMeters that is more") for text in counts.warnings)


def test_the_volume_of_a_sample_that_is_split_is_not_used(tmp_path: Path) -> None:
    rows = images("a", {"calanus": 6}, at("A", haul="1")) + images("b", {"calanus": 6}, at("A", haul="2"))
    counts = counted(write_survey(tmp_path / "s", rows), "haul")
    assert one(counts, "calanus", "1").per_liter is None
    assert "its volume is that of all: add sample to --by" in counts.samples[0].no_volume


def test_samples_that_share_a_name_are_not_counted_in_the_water_of_one(tmp_path: Path) -> None:
    rows = images("a", {"calanus": 6}, at("1", station="X")) + images("b", {"calanus": 2}, at("1", station="Y"))
    counts = counted(write_survey(tmp_path / "s", rows))
    assert one(counts, "calanus", "1").per_liter is None  # and not 8 images in 2 liters
    assert "several places (column station)" in counts.samples[0].no_volume
    assert "--by sample,station" in counts.samples[0].no_volume
    named = counted(tmp_path / "s", "sample", "station")
    found = {count.sample: count.per_liter for count in named.counts if count.name == "calanus"}
    assert found == {"1/X": 3.0, "1/Y": 1.0}


def test_samples_of_a_station_at_several_depths_are_named_with_the_depth(tmp_path: Path) -> None:
    def depth(meters: str) -> dict[str, str]:
        return {**LITER, "station": "A", "minimumDepthInMeters": meters}

    rows = images("a", {"calanus": 6}, depth("0")) + images("b", {"calanus": 2}, depth("50"))
    counts = counted(write_survey(tmp_path / "s", rows))
    assert one(counts, "calanus").per_liter is None
    assert "several depths (column minimumDepthInMeters)" in counts.samples[0].no_volume
    named = counted(tmp_path / "s", "station", "depth")
    found = {count.sample: count.per_liter for count in named.counts if count.name == "calanus"}
    assert found == {"A/0": 3.0, "A/50": 1.0}
    binned = counted(tmp_path / "s", "station", depth_bins=(0, 20, 100))
    assert all("name each sample in a column sample" in sample.no_volume for sample in binned.samples)


def test_the_volume_of_a_profile_is_that_of_all_its_depths(tmp_path: Path) -> None:
    rows = images("a", {"calanus": 6}, at("A", minimumDepthInMeters="0"))
    rows += images("b", {"calanus": 2}, at("A", minimumDepthInMeters="50"))
    counts = counted(write_survey(tmp_path / "s", rows))
    assert one(counts, "calanus").per_liter == 4.0  # 8 images in 2 liters
    assert any("the images of one sample have several depths" in text for text in counts.warnings)
    split = counted(tmp_path / "s", "sample", "depth")
    assert {sample.volume_l for sample in split.samples} == {None}


def test_only_accepted_names_count_if_that_is_wanted(tmp_path: Path) -> None:
    verdicts = [
        Verdict("accepted", "calanus", "genus"),
        Verdict("rolled_up", "Copepoda", "class"),
        Verdict("abstained"),
        Verdict("unknown"),
    ]
    rows = [image(f"{number}.png", "calanus", at("A"), verdict) for number, verdict in enumerate(verdicts)]
    folder = write_survey(tmp_path / "s", rows, decides=True)
    everything = counted(folder)
    assert one(everything, "calanus").raw == 4
    assert (everything.samples[0].abstained, everything.samples[0].unknown) == (1, 1)
    accepted = counted(folder, count_as="accepted")
    assert {count.name: count.raw for count in accepted.counts if count.raw} == {
        "calanus": 1, "Calanus": 1, "Copepoda": 2, "Animalia": 2, "rolled_up": 1, "abstained": 1, "unknown": 1,
    }  # fmt: skip
    assert any("changes the composition" in text for text in accepted.warnings)


def test_a_model_without_thresholds_has_no_accepted_names(tmp_path: Path) -> None:
    folder = write_survey(tmp_path / "s", images("a", {"calanus": 1}, at("A")))
    with pytest.raises(InputError, match="the model of this survey has no thresholds"):
        counted(folder, count_as="accepted")


def test_flagged_images_are_left_out_and_counted(tmp_path: Path) -> None:
    folder = write_survey(tmp_path / "s", images("a", {"calanus": 3}, at("A")))
    with pytest.raises(InputError, match="no image has the flag 'blurred'; flags of images: none; set them"):
        counted(folder, exclude_flags=["blurred"])
    with Survey.open(folder, to_add=True) as survey:
        set_flags(
            survey, [Flag("a_calanus_1.png", "blurred"), Flag("a_calanus_2.png", "clipped")], [Flag("A", "clogged")]
        )
    counts = counted(folder, exclude_flags=["blurred"])
    assert one(counts, "calanus").raw == 2
    assert (counts.samples[0].images, counts.samples[0].excluded, counts.samples[0].flags) == (2, 1, "clogged")
    assert any("1 images are left out because of their flags (blurred 1)" in text for text in counts.warnings)
    assert any("have the flag clogged of `pelagia check`: A" in text for text in counts.warnings)
    assert counted(folder, "eventDate").samples[0].flags == "clogged"  # it is that of a sample inside


def test_failed_images_are_said_and_not_counted(tmp_path: Path) -> None:
    rows = [*images("a", {"calanus": 3}, at("A")), Prediction("z.png", "/z.png", reason="damaged", columns=at("A"))]
    counts = counted(write_survey(tmp_path / "s", rows))
    assert (counts.samples[0].images, counts.samples[0].failed) == (3, 1)
    assert any("1 images could not be classified" in text for text in counts.warnings)


def test_a_survey_of_an_older_pelagia_asks_for_the_model(tmp_path: Path) -> None:
    counts = counted(write_survey(tmp_path / "s", images("a", {"calanus": 3}, at("A")), with_card=False))
    assert {count.kind for count in counts.counts} == {"class"}
    assert any("--model MODEL.onnx" in text for text in counts.warnings)


def test_a_column_that_is_not_there_is_refused(tmp_path: Path) -> None:
    folder = write_survey(tmp_path / "s", images("a", {"calanus": 3}, at("A")))
    with pytest.raises(InputError, match=r"the survey has no column 'sampel' \(did you mean 'sample'\?\)"):
        counted(folder, "sampel")


def test_samples_whose_names_would_be_the_same_are_refused(tmp_path: Path) -> None:
    rows = images("a", {"calanus": 1}, at("A", station="x/y", haul="z"))
    rows += images("b", {"calanus": 1}, at("A", station="x", haul="y/z"))
    with pytest.raises(InputError, match="two samples would both have the name 'x/y/z'"):
        counted(write_survey(tmp_path / "s", rows), "station", "haul")


def test_a_volume_in_cubic_metres_without_a_fraction_is_warned_of(tmp_path: Path) -> None:
    counts = counted(write_survey(tmp_path / "s", images("a", {"calanus": 2}, at("A", sampleSizeUnit="m3"))))
    assert one(counts, "calanus").per_liter == 0.001
    assert any("all of it, it was assumed: A" in text for text in counts.warnings)


def test_the_progress_covers_the_correction_of_the_samples(tmp_path: Path) -> None:
    rows = images("a", {"calanus": 6}, at("A")) + images("b", {"acartia": 6}, at("B"))
    seen: list[tuple[int, int]] = []
    known = card(counting=counting(scores()))
    counts = counted(
        write_survey(tmp_path / "s", rows), card=known, progress=lambda done, total: seen.append((done, total))
    )
    assert counts.method
    assert seen == [(0, 12), (1, 2), (2, 2)]  # images, then samples


def test_the_short_table_says_that_it_adds_up_the_ends_of_intervals(tmp_path: Path) -> None:
    folder = write_survey(tmp_path / "s", images("a", {"calanus": 6}, at("A")) + images("b", {"calanus": 6}, at("B")))
    known = card(counting=counting(scores()))
    both, together = (counted(folder, *by, card=known) for by in ((), ("eventDate",)))
    assert any("the ends of the 90% intervals are added up" in text for text in about(both))
    assert not any("are added up" in text for text in about(together))
