"""`pelagia check` on drawn surveys with planted faults, and on real bins."""

import csv
import json

import cv2
import numpy as np
import pytest

from pelagia.survey.additions import image_flags, measures_of, sample_flags
from pelagia.survey.journal import Survey
from pelagia_inference.checks.check import FLAGS_FILE, SAMPLES_FILE, check_survey


def checked(folder, **options):
    with Survey.open(folder, to_add=True) as survey:
        return check_survey(survey, **options)


def flags_in(folder):
    with Survey.open(folder) as survey:
        return (
            {(flag.on, flag.flag) for flag in image_flags(survey)},
            {(flag.on, flag.flag) for flag in sample_flags(survey)},
        )


@pytest.fixture
def planted(drawn, drawn_survey):
    """Twelve samples of six objects; a blurred, a clipped and a repeated one, and a sample with half of the volume."""
    images = {f"s{sample:02}_{number}.png": drawn(10 * sample + number) for sample in range(12) for number in range(6)}
    images["s01_2.png"] = cv2.GaussianBlur(images["s01_2.png"], (0, 0), 2)
    images["s02_3.png"] = images["s02_3.png"][:, :42]
    again = images["s03_0.png"].astype(np.int16) + np.random.default_rng(1).integers(-2, 3, (90, 90, 3))
    images["s03_5.png"] = np.clip(again, 0, 255).astype(np.uint8)
    volumes = {f"s{sample:02}": 4.0 + 0.1 * (sample % 3) for sample in range(12)} | {"s07": 2.0}
    columns = {
        path: {
            "sample": path[:3],
            "sampleSizeValue": str(volumes[path[:3]]),
            "sampleSizeUnit": "millilitre",
            "pixel_size_um": "2.0",
            "eventDate": f"2024-05-{1 + int(path[1:3]):02}",
        }
        for path in images
    }
    return drawn_survey(images, columns)


def test_planted_faults_are_found_and_nothing_else(planted):
    result = checked(planted)
    images, samples = flags_in(planted)
    assert images == {("s01_2.png", "blurred"), ("s02_3.png", "clipped"), ("s03_5.png", "duplicate")}
    assert samples == {("s07", "implausible_volume")}
    assert result.counts == {"blurred": 1, "clipped": 1, "duplicate": 1}
    assert (result.images, len(result.samples), result.measuring.done, result.warnings) == (72, 12, 72, ())


def test_measures_are_in_pixels_and_micrometers_and_are_made_once(planted):
    checked(planted)
    with Survey.open(planted) as survey:
        first = next(measures_of(survey)).values
    assert first["esd_um"] == pytest.approx(2 * 2 * (first["area_px"] / np.pi) ** 0.5)
    assert first["biovolume_um3"] == pytest.approx(8 * first["volume_px3"])
    again = checked(planted)
    assert (again.measuring.done, again.measuring.before) == (0, 72)
    assert flags_in(planted)[0] == {
        ("s01_2.png", "blurred"), ("s02_3.png", "clipped"), ("s03_5.png", "duplicate")
    }  # fmt: skip


def test_the_tables_have_one_row_for_each_flag_and_each_sample(planted):
    checked(planted)
    with (planted / FLAGS_FILE).open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["sample"], row["path"], row["flag"]) for row in rows] == [
        ("s07", "", "implausible_volume"),
        ("s01", "s01_2.png", "blurred"),
        ("s02", "s02_3.png", "clipped"),
        ("s03", "s03_5.png", "duplicate"),
    ]
    assert rows[0]["detail"] == "2.0 millilitre, 0.488 times as much as the samples around it, which have 0.0041 liters"
    assert rows[3]["detail"] == "as s03_0.png"
    with (planted / SAMPLES_FILE).open(encoding="utf-8-sig", newline="") as file:
        samples = {row["sample"]: row for row in csv.DictReader(file)}
    assert len(samples) == 12
    assert samples["s01"]["blurred"] == "1"
    assert samples["s07"]["flags"].startswith("implausible_volume: 2.0 millilitre")


def test_an_interrupted_check_is_resumed_and_images_that_are_gone_are_counted(planted, monkeypatch):
    from pelagia_inference.checks import measure

    monkeypatch.setattr(measure, "_BATCH", 10)

    def stop(done, total):
        if done >= 20:
            raise KeyboardInterrupt

    with Survey.open(planted, to_add=True) as survey, pytest.raises(KeyboardInterrupt):
        check_survey(survey, progress=stop)
    missing = planted.parent / "images" / "s11_5.png"
    kept = missing.read_bytes()
    missing.unlink()
    result = checked(planted)
    assert result.measuring.before == 20
    assert result.measuring.done == 51
    assert result.warnings[0].startswith("not measured: 1 image, cannot be read (the first is s11_5.png)")
    missing.write_bytes(kept)
    assert checked(planted).measuring.done == 1


def test_sizes_that_are_missing_or_impossible_are_flagged(drawn, drawn_survey):
    images = {f"{name}.png": drawn(number) for number, name in enumerate("abcd")}
    sizes = {"a.png": "2.0", "b.png": "", "c.png": "0.0106", "d.png": ""}
    stations = {"a.png": "X", "b.png": "X", "c.png": "X", "d.png": "Y"}
    columns = {path: {"station": stations[path], "pixel_size_um": sizes[path]} for path in images}
    folder = drawn_survey(images, columns)
    checked(folder)
    found, samples = flags_in(folder)
    assert found >= {("b.png", "no_pixel_size"), ("c.png", "implausible_pixel_size")}
    assert samples >= {("Y", "no_pixel_size"), ("X", "different_pixel_sizes"), ("X", "no_volume")}
    checked(folder, pixel_size=2.0)
    found, samples = flags_in(folder)
    assert not {flag for _, flag in found | samples} & {"no_pixel_size"}
    with Survey.open(folder) as survey:
        values = {row.path: row.values for row in measures_of(survey)}
    assert "esd_um" in values["d.png"]
    assert "esd_um" not in values["c.png"]  # its size cannot be right


def test_a_pixel_size_that_was_typed_once_is_kept_shown_and_never_mixed(drawn, drawn_survey, pelagia):
    folder = drawn_survey({"a.png": drawn(1)}, {"a.png": {"station": "X"}})

    def diameter():
        with Survey.open(folder) as survey:
            [row] = measures_of(survey)
            return row.values["esd_um"]

    checked(folder, pixel_size=2.0)
    first = diameter()
    again = pelagia("check", folder)
    assert again.returncode == 0, again.stderr
    assert "images without a pixel size have 2 micrometers, as an earlier --pixel-size said" in again.stderr
    assert diameter() == first
    other = pelagia("check", folder, "--pixel-size", "4")
    assert other.returncode == 2
    assert "was checked with --pixel-size 2, and now it is 4" in " ".join(other.stderr.split())
    assert diameter() == first
    assert pelagia("check", folder, "--pixel-size", "4", "--replace-pixel-size").returncode == 0
    assert diameter() == pytest.approx(2 * first, rel=1e-4)
    checked(folder)
    assert diameter() == pytest.approx(2 * first, rel=1e-4)


def test_a_sample_out_of_focus_and_one_full_of_bubbles_are_flagged(drawn, drawn_survey):
    images = {f"s{sample}_{number:02}.png": drawn(20 * sample + number) for sample in range(4) for number in range(15)}
    images |= {path: cv2.GaussianBlur(image, (0, 0), 2) for path, image in images.items() if path.startswith("s2")}
    columns = {path: {"sample": path[:2]} for path in images}
    folder = drawn_survey(images, columns, name="bubble")
    checked(folder)
    samples = flags_in(folder)[1]
    assert {sample for sample, flag in samples if flag == "many_blurred"} == {"s2"}
    assert {sample for sample, flag in samples if flag == "bubbles"} == {"s0", "s1", "s2", "s3"}


def test_real_bins_have_no_flag_of_their_run(survey_of, data_root):
    folder = survey_of(data_root / "ifcb" / "smhi", data_root / "ifcb" / "whoi")
    result = checked(folder, pixel_size=0.34)
    found, samples = flags_in(folder)
    assert samples == set()
    assert {flag for _, flag in found} == {"blurred", "clipped"}
    assert [sample.images for sample in result.samples] == [19, 17]


def test_the_command_prints_what_was_found_and_json(pelagia, planted):
    done = pelagia("check", planted)
    assert done.returncode == 0, done.stderr
    assert "72 images in 12 samples (by sample); 72 measured now" in done.stdout
    assert "implausible_volume: 1 of 12 samples" in done.stdout
    assert "no image was removed" in done.stdout
    document = json.loads(pelagia("check", planted, "--json").stdout)
    assert document["image_flags"] == {
        "blurred": 1, "clipped": 1, "duplicate": 1, "no_pixel_size": 0, "implausible_pixel_size": 0
    }  # fmt: skip
    assert document["sample_flags"]["implausible_volume"] == 1
    assert document["measured_before"] == 72


def test_a_fault_of_the_user_is_one_line(pelagia, planted, tmp_path):
    wrong = pelagia("check", planted, "--by", "statoin")
    assert wrong.returncode == 2
    assert "the survey has no column 'statoin'" in wrong.stderr
    assert "Traceback" not in wrong.stderr
    nothing = pelagia("check", tmp_path / "none")
    assert nothing.returncode == 5
    assert "there is no survey" in nothing.stderr


def test_expected_taxa_are_compared_with_the_taxonomy_that_the_survey_holds(drawn, drawn_survey, pelagia, tmp_path):
    here = {"decimalLatitude": "54.2", "decimalLongitude": "3.1", "eventDate": "2024-07-01", "sample": "A"}
    folder = drawn_survey({"a.png": drawn(1), "b.png": drawn(2)}, {"a.png": here, "b.png": here})
    listed = tmp_path / "expected.csv"
    listed.write_text(
        "taxon,min_latitude,max_latitude,min_longitude,max_longitude,months\nCopepoda,-80,-70,,,\n", encoding="utf-8"
    )
    done = pelagia("check", folder, "--expected", listed, "--json")
    assert done.returncode == 0, done.stderr
    (sample,) = json.loads(done.stdout)["samples"]
    assert sample["flags"]["unexpected_class"] == "copepod (2 images) at 54.20, 3.10 in month 7"
