"""`pelagia survey export --to`: what holds for every format."""

import json

import pytest

from pelagia.errors import InputError, MissingExtra
from pelagia.survey.journal import Survey
from pelagia_inference.exports import export
from pelagia_inference.exports.commands import survey_export
from pelagia_inference.exports.export import (
    FORMATS,
    RECORD_FILE,
    export_survey,
    folders_of,
    formats_to_export,
)
from pelagia_inference.exports.exporting import FAILED


def test_formats_are_named_with_commas_and_a_wrong_name_gets_a_hint():
    assert formats_to_export(["csv,GeoJSON", "csv"]) == ("csv", "geojson")
    with pytest.raises(InputError, match="did you mean 'ecotaxa'"):
        formats_to_export(["ecotaxxa"])


def test_a_format_whose_package_is_missing_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    assert formats_to_export(["csv", "ecotaxa", "ifcb-csv"])
    with pytest.raises(MissingExtra, match=r"'h5py'.*hdf5"):
        formats_to_export(["ifcb"])


def test_each_of_several_formats_gets_its_folder_and_none_may_exist(tmp_path):
    assert folders_of(tmp_path, ["csv"], tmp_path / "out") == {"csv": tmp_path / "out"}
    assert folders_of(tmp_path, ["csv"]) == {"csv": tmp_path / "exports" / "csv"}
    both = folders_of(tmp_path, ["csv", "geojson"], tmp_path / "out")
    assert both["geojson"] == tmp_path / "out" / "geojson"
    (tmp_path / "out" / "geojson").mkdir(parents=True)
    (tmp_path / "out" / "geojson" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        folders_of(tmp_path, ["csv", "geojson"], tmp_path / "out")


def test_an_export_says_what_it_left_out_and_which_model_made_the_results(sea, tmp_path):
    done = export_survey(sea, tmp_path / "out", "label-studio")
    assert done.left_out == {FAILED: 1}
    record = json.loads((tmp_path / "out" / RECORD_FILE).read_text(encoding="utf-8"))
    assert record["left_out"] == {FAILED: 1}
    assert record["model"] == "sea <model> (ffffffffffff)"
    assert record["program"].startswith("Pelagia ")


def test_the_command_writes_folders_and_the_old_formats_still_work(sea, tmp_path, pelagia):
    sea.close()
    done = pelagia("survey", "export", tmp_path / "survey", "--to", "csv,geojson", "--by", "station")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "survey" / "exports" / "csv" / "counts.csv").is_file()
    again = pelagia("survey", "export", tmp_path / "survey", "--to", "csv")
    assert again.returncode == 2
    assert "exists already" in again.stderr
    plain = pelagia("survey", "export", tmp_path / "survey")
    assert plain.returncode == 0
    assert (tmp_path / "survey" / "predictions.csv").is_file()
    both = pelagia("survey", "export", tmp_path / "survey", "--to", "csv", "--format", "csv")
    assert both.returncode == 2
    assert "one of the two" in both.stderr


def test_the_help_explains_every_format():
    text = " ".join((survey_export.__doc__ or "").split())
    assert [name for name, entry in FORMATS.items() if f"{name} {entry.help}" not in text] == []


def test_an_export_that_fails_leaves_no_folder(tmp_path):
    with Survey.open_for_writing(tmp_path / "s", model_sha256="f" * 64, classes=["a"], settings={}) as survey:
        for name in ("ifcb-csv", "ecotaxa-update", "seabass", "camtrap-dp"):
            with pytest.raises(InputError):
                export_survey(survey, tmp_path / name, name)
            assert not (tmp_path / name).exists()
