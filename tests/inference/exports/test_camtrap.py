"""Camtrap DP packages: validated by `frictionless` with the published fields, and imported again as a dataset."""

import json
from dataclasses import replace
from datetime import datetime

import pytest
from frictionless import Package, Resource, Schema

from pelagia.errors import ConfigError, InputError
from pelagia.tables.reader import open_table
from pelagia_inference.exports.camtrap import _FILE_PATH
from pelagia_inference.exports.export import ExportOptions, export_survey
from pelagia_labeling.importers.dataset import import_dataset
from survey_fixtures import NAMES, write_survey

METADATA = """
camtrap-dp:
  contributors: [{title: Ann}]
  project_title: Fish of the harbor
  sampling_design: opportunistic
  capture_method: [activityDetection]
  individual_animals: false
  time_zone: UTC
"""
TIME = {"type": "datetime", "format": "%Y-%m-%dT%H:%M:%S%z"}
YES = {"constraints": {"required": True}}
KEY = {"constraints": {"required": True, "unique": True}}
RULES = {
    "deployments": {
        "deploymentID": KEY,
        "latitude": {"type": "number", "constraints": {"required": True, "minimum": -90, "maximum": 90}},
        "longitude": {"type": "number", "constraints": {"required": True, "minimum": -180, "maximum": 180}},
        "deploymentStart": TIME | YES,
        "deploymentEnd": TIME | YES,
    },
    "media": {
        "mediaID": KEY,
        "deploymentID": YES,
        "timestamp": TIME | YES,
        "filePath": {"constraints": {"required": True, "pattern": r"^(?=^[^./~])(^((?!\.{2}).)*$).*$"}},
        "filePublic": {"type": "boolean"} | YES,
        "fileMediatype": {"constraints": {"required": True, "pattern": "^(image|video|audio)/.*$"}},
    },
    "observations": {
        "observationID": KEY,
        "deploymentID": YES,
        "eventStart": TIME | YES,
        "eventEnd": TIME | YES,
        "observationLevel": {"constraints": {"required": True, "enum": ["media", "event"]}},
        "observationType": {
            "constraints": {
                "required": True,
                "enum": ["animal", "human", "vehicle", "blank", "unknown", "unclassified"],
            }
        },
        "count": {"type": "integer", "constraints": {"minimum": 1}},
        "classificationMethod": {"constraints": {"enum": ["human", "machine"]}},
        "classificationTimestamp": TIME,
        "classificationProbability": {"type": "number", "constraints": {"minimum": 0, "maximum": 1}},
    },
}
"""The rules of Camtrap DP 1.0.2 for the fields that the export fills, as the published table schemas have them."""

# fmt: off
DEPLOYMENTS = (
    "deploymentID", "locationID", "locationName", "latitude", "longitude", "coordinateUncertainty",
    "deploymentStart", "deploymentEnd", "setupBy", "cameraID", "cameraModel", "cameraDelay", "cameraHeight",
    "cameraDepth", "cameraTilt", "cameraHeading", "detectionDistance", "timestampIssues", "baitUse", "featureType",
    "habitat", "deploymentGroups", "deploymentTags", "deploymentComments",
)
MEDIA = (
    "mediaID", "deploymentID", "captureMethod", "timestamp", "filePath", "filePublic", "fileName", "fileMediatype",
    "exifData", "favorite", "mediaComments",
)
OBSERVATIONS = (
    "observationID", "deploymentID", "mediaID", "eventID", "eventStart", "eventEnd", "observationLevel",
    "observationType", "cameraSetupType", "scientificName", "count", "lifeStage", "sex", "behavior", "individualID",
    "individualPositionRadius", "individualPositionAngle", "individualSpeed", "bboxX", "bboxY", "bboxWidth",
    "bboxHeight", "classificationMethod", "classifiedBy", "classificationTimestamp", "classificationProbability",
    "observationTags", "observationComments",
)
# fmt: on
TABLES = {"deployments": DEPLOYMENTS, "media": MEDIA, "observations": OBSERVATIONS}
"""All fields of the table schemas, in their order."""


def reference(field, resource):
    return {"fields": field, "reference": {"resource": resource, "fields": field}}


KEYS = {
    "media": [reference("deploymentID", "deployments")],
    "observations": [reference("deploymentID", "deployments"), reference("mediaID", "media")],
}


def faults(folder):
    """What `frictionless` finds wrong in a package."""
    resources = []
    for name, table in TABLES.items():
        fields = [{"name": field, "type": "string", **RULES[name].get(field, {})} for field in table]
        schema = {"fields": fields, "missingValues": ["", "NA", "NaN", "nan"], "foreignKeys": KEYS.get(name, [])}
        resources.append(Resource(name=name, path=f"{name}.csv", schema=Schema.from_descriptor(schema)))
    report = Package(resources=resources, basepath=str(folder)).validate()
    return [*report.errors, *(error for task in report.tasks for error in task.errors)]


@pytest.fixture
def options(tmp_path):
    (tmp_path / "camtrap.yaml").write_text(METADATA, encoding="utf-8")
    return ExportOptions(by=("station",), metadata=tmp_path / "camtrap.yaml")


def rows_of(path):
    return {next(iter(row.values())): row for _, row in open_table(path, what="table").rows()}


def test_the_package_has_valid_tables_that_refer_to_each_other(sea, tmp_path, options):
    done = export_survey(sea, tmp_path / "out", "camtrap-dp", options)
    assert faults(tmp_path / "out") == []
    assert set(rows_of(tmp_path / "out" / "media.csv")) == set(NAMES)
    seen = rows_of(tmp_path / "out" / "observations.csv")
    assert (seen[NAMES[0]]["scientificName"], seen[NAMES[0]]["classificationMethod"]) == ("Copepoda", "machine")
    assert (seen[NAMES[1]]["observationType"], seen[NAMES[1]]["observationComments"]) == ("unknown", "detritus")
    assert seen[NAMES[3]]["observationType"] == "unknown"
    assert (seen[NAMES[5]]["classificationMethod"], seen[NAMES[5]]["classifiedBy"]) == ("human", "")
    assert done.left_out == {"images that could not be classified": 1}
    assert "deployments: 2; taxa: 3" in done.notes
    place = rows_of(tmp_path / "out" / "deployments.csv")["=St 0"]
    assert (place["latitude"], place["longitude"]) == ("54.5", "-3.25")


def test_the_timestamp_of_an_image_is_the_first_moment_of_its_time(tmp_path, options):
    with write_survey(tmp_path / "survey", NAMES[:1]) as survey:
        row = next(row for row in survey if row.ok)
        span = {"eventDate": "2024-05-01T10:00:00Z/2024-05-01T11:00:00Z"}
        survey.add([replace(row, columns=row.columns | span)])
        export_survey(survey, tmp_path / "out", "camtrap-dp", options)
    assert rows_of(tmp_path / "out" / "media.csv")[NAMES[0]]["timestamp"] == "2024-05-01T10:00:00Z"
    seen = rows_of(tmp_path / "out" / "observations.csv")[NAMES[0]]
    assert (seen["eventStart"], seen["eventEnd"]) == ("2024-05-01T10:00:00Z", "2024-05-01T11:00:00Z")


def test_a_fault_would_be_found(sea, tmp_path, options):
    export_survey(sea, tmp_path / "out", "camtrap-dp", options)
    path = tmp_path / "out" / "observations.csv"
    path.write_text(path.read_text("utf-8").replace("media,animal", "media,beast").replace("St 1", "St 9"), "utf-8")
    assert {error.type for error in faults(tmp_path / "out")} == {"constraint-error", "foreign-key"}


def test_the_descriptor_has_what_the_profile_requires(sea, tmp_path, options):
    export_survey(sea, tmp_path / "out", "camtrap-dp", options)
    package = json.loads((tmp_path / "out" / "datapackage.json").read_text("utf-8"))
    required = {"resources", "profile", "created", "contributors", "project", "spatial", "temporal", "taxonomic"}
    assert required <= set(package)
    assert {"title", "samplingDesign", "captureMethod", "individualAnimals", "observationLevel"} == set(
        package["project"]
    )
    assert package["temporal"] == {"start": "2024-05-01", "end": "2024-05-02"}
    assert {"scientificName": "Copepoda", "taxonRank": "class"} in package["taxonomic"]
    assert all("/1.0.2/" in one["schema"] for one in package["resources"])
    assert datetime.fromisoformat(package["created"]).tzinfo is not None


def test_a_dataset_can_be_made_of_the_package(sea, tmp_path, options, put):
    for at, name in enumerate(NAMES):
        put(tmp_path / "images" / name, seed=at)
    export_survey(sea, tmp_path / "out", "camtrap-dp", options)
    made = import_dataset(
        tmp_path / "images", tmp_path / "ds", manifest=tmp_path / "out" / "media.csv", join_near_duplicates=False
    )
    assert {(one.source, one.class_name) for one in made.records} == {
        (NAMES[0], "Copepoda"),
        (NAMES[2], "Animalia"),
        (NAMES[4], "Hydrozoa"),
        (NAMES[5], "Copepoda"),
    }
    assert {one.group for one in made.records} == {"=St 0", "=St 1"}


def test_all_that_is_missing_is_listed_before_anything_is_written(sea, tmp_path):
    with pytest.raises(ConfigError) as refused:
        export_survey(sea, tmp_path / "out", "camtrap-dp", ExportOptions(by=("pixel_size_um",)))
    text = str(refused.value)
    for word in ("contributors", "project_title", "sampling_design", "without one position", "time_zone"):
        assert word in text
    assert not (tmp_path / "out").exists()


def test_what_is_wrong_with_the_deployments_is_listed(sea, tmp_path):
    told = METADATA + '  deployments: {"=St 0": {start: tomorrow}, "St 1": {latitude: 5}}\n'
    (tmp_path / "wrong.yaml").write_text(told, encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        export_survey(sea, tmp_path / "out", "camtrap-dp", ExportOptions(metadata=tmp_path / "wrong.yaml"))
    assert "St 1 are no deployments of the survey, which are =St 0, =St 1" in str(refused.value)
    assert "=St 0: start 'tomorrow' is not a time with a zone" in str(refused.value)


def test_the_times_of_a_deployment_are_those_of_the_metadata(sea, tmp_path):
    told = METADATA + '  deployments: {"=St 0": {start: "2024-04-30 08:00", end: "2024-05-02T00:00:00+02:00"}}\n'
    (tmp_path / "times.yaml").write_text(told, encoding="utf-8")
    export_survey(sea, tmp_path / "out", "camtrap-dp", ExportOptions(metadata=tmp_path / "times.yaml"))
    assert faults(tmp_path / "out") == []
    text = (tmp_path / "out" / "deployments.csv").read_text(encoding="utf-8")
    assert "2024-04-30T08:00:00Z,2024-05-02T00:00:00+02:00" in text


def test_a_package_without_images_is_refused(tmp_path, options):
    with write_survey(tmp_path / "survey", ["a..b.png"]) as survey, pytest.raises(InputError) as refused:
        export_survey(survey, tmp_path / "out", "camtrap-dp", options)
    assert str(refused.value) == (
        "there is nothing to export: 1 images whose path the format does not allow (two dots in a row); 1 images that "
        "could not be classified"
    )
    assert not (tmp_path / "out").exists()


def test_images_that_the_format_does_not_allow_are_counted(tmp_path, options):
    names = ["a..b.png", "no time.png", "good.png"]
    with write_survey(tmp_path / "survey", names) as survey:
        rows = {row.path: row for row in survey}
        survey.add([replace(rows[names[1]], columns=rows[names[1]].columns | {"eventDate": "2024-05-01"})])
        done = export_survey(survey, tmp_path / "out", "camtrap-dp", options)
    assert faults(tmp_path / "out") == []
    assert done.left_out == {
        "images that could not be classified": 1,
        "images whose path the format does not allow (two dots in a row)": 1,
        "images without a time that has a time zone": 1,
    }


def test_the_column_of_deployments_is_used_unless_samples_are_named(tmp_path, options):
    with write_survey(tmp_path / "survey", NAMES) as survey:
        rows = list(survey)
        survey.add([replace(row, columns=row.columns | {"deploymentID": row.columns["station"][-1]}) for row in rows])
        export_survey(survey, tmp_path / "out", "camtrap-dp", replace(options, by=()))
    assert set(rows_of(tmp_path / "out" / "deployments.csv")) == {"0", "1"}
    assert faults(tmp_path / "out") == []


def test_a_path_from_the_root_is_not_allowed():
    assert _FILE_PATH.fullmatch("a/b.png")
    assert not _FILE_PATH.fullmatch("/a.png")
    assert not _FILE_PATH.fullmatch("../a.png")
