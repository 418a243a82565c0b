"""The rules for samples: volumes, runs of an IFCB, positions in the camera, expected taxa, and repeats."""

from pathlib import Path

import numpy as np
import pytest

from pelagia.dataset.near_duplicates import signature_of
from pelagia.errors import InputError
from pelagia.sources.ifcb.adc import Roi
from pelagia.sources.ifcb.run import BinRun, read_run
from pelagia.survey.journal import Survey
from pelagia_inference.checks.expected import read_expected, unexpected, unknown_taxa
from pelagia_inference.checks.gather import SampleState
from pelagia_inference.checks.repeats import Look, Repeats, repeats_among
from pelagia_inference.checks.rules import blurred, clearly_above
from pelagia_inference.checks.runs import center_of, run_flags
from pelagia_inference.checks.samples import flow_flags, volume_flags
from surveys.small_survey import make_survey


def state(name="s", run=None, classes=(), **columns):
    found = SampleState(name, columns, run=run)
    found.classes.update(dict(classes))
    return found


def with_volumes(values, unit="millilitre"):
    same = {"instrument": "I", "sampleSizeUnit": unit}
    return [
        state(f"s{at:02}", sampleSizeValue=str(value), eventDate=f"2024-01-{at + 1:02}", **same)
        for at, value in enumerate(values)
    ]


def test_half_of_the_volume_is_found_and_an_instrument_that_varies_is_left_alone():
    assert [flag.on for flag in volume_flags(with_volumes([5, 5.1, 4.9, 2.5, 5, 5.2]))] == ["s03"]
    assert list(volume_flags(with_volumes([5, 5.1, 4.9, 4, 5, 5.2]))) == []
    assert list(volume_flags(with_volumes([1, 9, 2, 12, 0.7, 5, 3, 8, 2.2]))) == []
    assert list(volume_flags(with_volumes([5, 2.5, 5]))) == []  # too few to know


def test_a_volume_in_another_unit_is_compared_in_liters():
    samples = with_volumes([5, 5.1, 4.9, 5, 5, 5.2])
    samples[1].columns.update(sampleSizeValue="0.0051", sampleSizeUnit="l")
    assert list(volume_flags(samples)) == []
    samples[3].columns["sampleSizeUnit"] = "l"
    [flag] = volume_flags(samples)
    assert (flag.on, flag.flag) == ("s03", "implausible_volume")
    assert flag.detail == "5 l, 1e+03 times as much as the samples around it, which have 0.005 liters"


def test_a_unit_or_a_part_that_gives_no_concentration_is_flagged():
    samples = with_volumes([5, 5, 5, 5])
    samples[1].columns["sampleSizeUnit"] = "gallon"
    samples[2].columns["sampleSizeUnit"] = ""
    samples[3].columns["acq_sub_part"] = "1/4"
    found = {flag.on: (flag.flag, flag.detail) for flag in volume_flags(samples)}
    assert {name: flag for name, (flag, _) in found.items()} == dict.fromkeys(("s01", "s02", "s03"), "no_volume")
    assert "the unit 'gallon' is not known" in found["s01"][1]


def test_a_volume_that_is_missing_or_no_number_is_flagged():
    found = {flag.on: flag.flag for flag in volume_flags([state("a"), state("b", sampleSizeValue="-3")])}
    assert found == {"a": "no_volume", "b": "implausible_volume"}


def test_the_volume_of_a_bin_is_compared_with_its_header(data_root):
    run = read_run(next((data_root / "ifcb" / "smhi").glob("*.roi")))
    right = state("a", run, sampleSizeValue="4.174796", sampleSizeUnit="millilitre")
    half = state("b", run, sampleSizeValue="2.0874", sampleSizeUnit="millilitre")
    (flag,) = volume_flags([right, half])
    assert (flag.on, flag.flag) == ("b", "implausible_volume")
    assert "the header give 4.175 ml" in flag.detail


def test_a_run_is_read_from_the_files_of_a_bin(data_root):
    run = read_run(next((data_root / "ifcb" / "whoi").glob("*.roi")))
    assert run.run_time == pytest.approx(1231.02, abs=0.01)
    assert (run.humidity_limit, run.is_beads, len(run.rois)) == (60.0, False, 19)
    assert run.volume_ml == pytest.approx(4.885, abs=0.001)
    assert len(run.trigger_times) > 100
    assert read_run(Path("no_bin.roi")) is None


def steady(count, run_time=1200.0):
    return BinRun(run_time=run_time, trigger_times=np.sort(np.random.default_rng(0).uniform(0, run_time, count)))


def flags_of(run):
    return {flag.flag for flag in run_flags("s", run)}


def test_faults_of_a_run_are_flagged():
    assert flags_of(steady(400)) == set()
    stopped = BinRun(run_time=1200.0, trigger_times=np.linspace(1, 700, 400))
    assert flags_of(stopped) == {"clogged_run"}
    assert flags_of(BinRun(run_time=300.0, syringe_ml=5.0)) == {"short_run"}
    assert flags_of(BinRun(run_time=1200.0, inhibit_time=700.0)) == {"high_inhibit"}
    assert flags_of(BinRun(humidity=80.0, humidity_limit=75.0, temperature=61.0)) == {"humid", "hot"}
    assert flags_of(BinRun(humidity=70.0)) == set()
    assert flags_of(BinRun(is_beads=True)) == {"beads_run"}


def test_chance_alone_seldom_looks_like_a_clog():
    rng = np.random.default_rng(1)
    runs = [BinRun(run_time=1200.0, trigger_times=np.sort(rng.uniform(0, 1200, n))) for n in rng.integers(5, 800, 2000)]
    assert sum("clogged_run" in flags_of(run) for run in runs) <= 2


def test_a_bin_whose_images_lie_elsewhere_is_flagged():
    def at(x, name):
        found = state(name, instrument="IFCB1")
        found.center = center_of(BinRun(rois={1: Roi(1, 1, x, 100, 50, 50)}))
        return found

    bins = [at(600 + step, f"b{step}") for step in (0, 10, 20, 5, 15)]
    assert [flag.on for flag in flow_flags([*bins, at(950, "off")])] == ["off"]
    assert list(flow_flags([*bins[:3], at(950, "off")])) == []


def look(path, seed, place=None, length=50.0):
    pixels = np.random.default_rng(seed).integers(0, 255, (12, 12, 3), dtype=np.uint8)
    return Look(0, path, signature_of(np.kron(pixels, np.ones((5, 5, 1), np.uint8))), length, place)


def test_the_first_image_of_a_particle_is_kept_and_all_others_name_it():
    found = list(repeats_among([look("a", 1), look("b", 2), look("c", 1), look("d", 1)]))
    assert [(repeat.path, repeat.first) for repeat in found] == [("c", "a"), ("d", "a")]


def test_the_same_picture_elsewhere_in_the_view_or_of_another_size_is_another_particle():
    places = [look("a", 1, (100, 100)), look("b", 1, (104, 99)), look("c", 1, (400, 99))]
    assert [(repeat.path, repeat.pixels) for repeat in repeats_among(places)] == [("b", 4)]
    assert list(repeats_among([look("a", 1), look("b", 1, length=60)])) == []


def test_memory_of_a_large_sample_is_bounded(monkeypatch):
    monkeypatch.setattr("pelagia_inference.checks.repeats._MOST_WAITING", 40)
    repeats = Repeats()
    looks = [look(f"{at:03}", at if at != 55 else 50) for at in range(100)]
    found = [repeat for one in looks for repeat in repeats.add(one)] + list(repeats.rest())
    assert {repeat.path for repeat in found} == {"055"}
    assert sum(map(len, repeats._waiting.values())) < 50


def test_an_image_is_compared_with_those_of_its_class():
    sharp, soft = np.full(30, 1.2, np.float32), np.full(30, 0.65, np.float32)
    values = np.concatenate([sharp, soft, np.array([0.65, 0.49, np.nan], np.float32)])
    classes = np.array([0] * 30 + [1] * 30 + [0, 1, 0], np.int32)
    assert np.flatnonzero(blurred(values, classes)).tolist() == [60, 61]


def test_a_share_must_be_above_the_limit_beyond_chance():
    assert not clearly_above(2, 5, 0.2)
    assert clearly_above(60, 150, 0.2)
    assert not clearly_above(0, 0, 0.2)


HEADER = "taxon,min_latitude,max_latitude,min_longitude,max_longitude,months\n"


def listed(tmp_path, *rows):
    path = tmp_path / "expected.csv"
    path.write_text(HEADER + "\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_classes_that_do_not_live_there_are_flagged(tmp_path):
    expected = read_expected(
        listed(tmp_path, "Copepoda,50,62,-5,12,", "acartia,50,62,-5,12,5-9", "krill,-90,-50,170,-170,11-2")
    )
    here = {"decimalLatitude": "54.2", "decimalLongitude": "3.1", "eventDate": "2024-01-12T10:00:00Z"}
    sample = state("s", classes={"acartia": 12, "calanus": 3, "krill": 1, "detritus": 40}, **here)
    lineages = {"acartia": ("Animalia", "Copepoda"), "calanus": ("Animalia", "Copepoda")}
    (flag,) = unexpected([sample, state("t", classes={"krill": 1})], expected, lineages)
    assert flag.on == "s"
    assert flag.detail == "acartia (12 images), krill (1 image) at 54.20, 3.10 in month 1"
    south = {"decimalLatitude": "-60", "decimalLongitude": "-175", "eventDate": "2024-12-01"}
    assert list(unexpected([state("u", classes={"krill": 5}, **south)], expected, {})) == []


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("a,50,62,-5,12,13", "months '13' are not like 3-9 or 1,2,12"),
        ("a,95,99,-5,12,", "min_latitude '95' is not a number from -90 to 90"),
        ("a,60,50,-5,12,", "min_latitude is above max_latitude"),
        (",50,60,-5,12,", "a row has no taxon"),
    ],
)
def test_a_wrong_row_of_the_list_is_named(tmp_path, row, fault):
    with pytest.raises(InputError, match=fault):
        read_expected(listed(tmp_path, row))


def test_a_list_without_a_column_is_refused(tmp_path):
    path = tmp_path / "expected.csv"
    path.write_text("taxon,months\na,1\n", encoding="utf-8")
    with pytest.raises(InputError, match="has no column 'min_latitude'"):
        read_expected(path)


def test_names_of_the_list_that_the_model_does_not_have_are_said_with_those_that_may_be_meant(tmp_path):
    folder = make_survey(tmp_path / "s")
    with Survey.open(folder) as survey:
        assert list(unknown_taxa(survey, ["Copepoda", "calanus"])) == []
        assert list(unknown_taxa(survey, ["Arctic tern", "Copepda", "Calanus"])) == [
            "2 of the 3 taxa in the list of expected taxa are no class and no taxon of the model, so they judge "
            "nothing: 'Copepda' (did you mean 'Copepoda'?), 'Arctic tern'"
        ]
