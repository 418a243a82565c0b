"""A Darwin Core Archive, read back by python-dwca-reader and by a checker of required terms."""

from __future__ import annotations

import math
import zipfile
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from cli_fixtures import Pelagia
from pelagia.errors import ConfigError, InputError
from pelagia.survey.additions import Confirmed, Measured, add_measures
from pelagia.survey.journal import Survey
from pelagia_inference.counts.counts import Counts, count_survey
from pelagia_inference.exports.dwc.export import Published, write_dwc
from surveys.small_survey import IMAGES, SAMPLES, TAXONOMY, make_survey

dwca = pytest.importorskip("dwca.read")

METADATA = """\
id: cruise1
title: Plankton & <fish> of a test
creators: [{family_name: Example, given_name: Ada, organization: Institute, email: ada@example.org}]
license: CC-BY-4.0
abstract: A test.
cruise: C1
coordinate_uncertainty_m: 100
people: {Ann: Ann, "bob@example.org": Bob Example}
"""
CONFIRMED = (
    Confirmed("A/000.png", "calanus", "Ann|bob@example.org", source="dataset x"),
    Confirmed("A/001.png", "copepod", "Ann"),
    Confirmed("B/001.png", "arrow_worm", "eve@example.org"),
)
TERMS = "http://rs.tdwg.org/dwc/terms/"
OBIS = "http://rs.iobis.org/obis/terms/"


def publish(tmp_path: Path, metadata: str = METADATA, *, survey: Path | None = None, **options: object) -> Published:
    folder = survey or make_survey(tmp_path / "survey", confirmed=CONFIRMED)
    (tmp_path / "dataset.yaml").write_text(metadata, encoding="utf-8")
    with Survey.open(folder) as opened:
        return write_dwc(opened, tmp_path / "dwc.zip", metadata=tmp_path / "dataset.yaml", **options)  # type: ignore[arg-type]


def tables_of(archive: Path) -> dict[str, list[dict[str, str]]]:
    """The tables as python-dwca-reader reads them: the short name of each term -> its value."""
    found: dict[str, list[dict[str, str]]] = {"Event": [], "Occurrence": [], "ExtendedMeasurementOrFact": []}
    with dwca.DwCAReader(archive) as reader:
        assert reader.core_contains_term(f"{TERMS}eventID")
        for core in reader:
            found["Event"].append({term.rpartition("/")[2]: text for term, text in core.data.items()})
            for row in core.extensions:
                short = {term.rpartition("/")[2]: text for term, text in row.data.items()}
                found[row.rowtype.rpartition("/")[2]].append(short)
    return found


def occurrence(archive: Path, ending: str) -> dict[str, str]:
    return next(row for row in tables_of(archive)["Occurrence"] if row["occurrenceID"].endswith(ending))


def measured(archive: Path, ending: str) -> dict[str, dict[str, str]]:
    rows = tables_of(archive)["ExtendedMeasurementOrFact"]
    owned = [row for row in rows if (row["occurrenceID"] or row["eventID"]).endswith(ending)]
    return {row["measurementType"]: row for row in owned}


def test_the_events_are_cruise_station_and_sample(tmp_path: Path) -> None:
    events = {row["eventID"]: row for row in tables_of(publish(tmp_path).target)["Event"]}
    sample = events["cruise1:sample:A"]
    station = events[sample["parentEventID"]]
    cruise = events[station["parentEventID"]]
    assert [row["eventType"] for row in (cruise, station, sample)] == ["cruise", "stationVisit", "sample"]
    assert cruise["parentEventID"] == ""
    assert cruise["eventDate"] == "2024-05-01T10:00:00Z/2024-05-02"
    assert (cruise["decimalLatitude"], station["decimalLatitude"]) == ("", "54.5")
    expected = ("54.5", "7.25", "0", "50", "5", "millilitre", "100", "EPSG:4326")
    names = ("decimalLatitude", "decimalLongitude", "minimumDepthInMeters", "maximumDepthInMeters")
    names += ("sampleSizeValue", "sampleSizeUnit", "coordinateUncertaintyInMeters", "geodeticDatum")
    assert tuple(sample[name] for name in names) == expected


def test_each_taxon_status_and_sample_is_one_occurrence_with_its_number(tmp_path: Path) -> None:
    rows = tables_of(publish(tmp_path).target)["Occurrence"]
    found = {
        (row["eventID"][-1], row["scientificName"], row["identificationVerificationStatus"]): int(
            row["individualCount"]
        )
        for row in rows
    }
    assert found == {
        ("A", "Calanus", "PredictedByMachine"): 2,  # two of four were confirmed, one as another class
        ("A", "Calanus", "ValidatedByHuman"): 1,
        ("A", "Copepoda", "PredictedByMachine"): 5,  # copepod and copepod_part
        ("A", "Copepoda", "ValidatedByHuman"): 1,
        ("B", "Calanus", "PredictedByMachine"): 1,
        ("B", "Chaetognatha", "ValidatedByHuman"): 1,
    }
    assert {row["basisOfRecord"] for row in rows} == {"MachineObservation"}
    assert len(rows) == len(found) == len({row["occurrenceID"] for row in rows})


def test_people_identify_and_the_model_is_a_reference(tmp_path: Path) -> None:
    archive = publish(tmp_path).target
    human = occurrence(archive, "A:Calanus:ValidatedByHuman")
    machine = occurrence(archive, "A:Calanus:PredictedByMachine")
    assert human["identifiedBy"] == "Ann | Bob Example"
    assert human["identificationReferences"] == ""
    assert human["identificationRemarks"] == "labels from dataset x"
    assert machine["identifiedBy"] == ""
    assert machine["identificationReferences"] == (
        "small, made 2024-04-01 with Pelagia 0.1.0 (SHA-256 abababababababab)"
    )
    assert machine["scientificNameID"] == "urn:lsid:marinespecies.org:taxname:104152"
    assert (machine["kingdom"], machine["phylum"], machine["class"]) == ("Animalia", "Arthropoda", "Copepoda")
    assert machine["taxonRank"] == "genus"


def test_nobody_is_named_unless_the_metadata_or_the_user_says_so(tmp_path: Path) -> None:
    done = publish(tmp_path)
    with zipfile.ZipFile(done.target) as archive:
        assert "eve@" not in archive.read("occurrence.txt").decode()
    assert any(one.name == "identifiedBy" and "Chaetognatha" in one.text for one in done.missing)
    done.target.unlink()
    everyone = publish(tmp_path, survey=tmp_path / "survey", people=True)
    assert occurrence(everyone.target, "B:Chaetognatha:ValidatedByHuman")["identifiedBy"] == "eve@example.org"


def test_counts_and_the_volume_are_measurements_with_their_codes(tmp_path: Path) -> None:
    archive = publish(tmp_path).target
    row = measured(archive, "A:Copepoda:PredictedByMachine")[
        "Count (in assayed sample) of biological entity specified elsewhere"
    ]
    assert (row["measurementValue"], row["measurementTypeID"]) == (
        "5",
        "http://vocab.nerc.ac.uk/collection/P01/current/OCOUNT01/",
    )
    instrument = measured(archive, "sample:A")["Analytical instrument name"]
    assert instrument["measurementValueID"] == "http://vocab.nerc.ac.uk/collection/L22/current/TOOL1583/"


ABUNDANCE = "Abundance of biological entity specified elsewhere per unit volume of the water body"


def test_abundances_are_those_of_the_counts(tmp_path: Path) -> None:
    archive = publish(tmp_path).target
    with Survey.open(tmp_path / "survey") as survey:
        counts = {(one.sample, one.name): one for one in count_survey(survey).counts}
    both = [measured(archive, f"A:Calanus:{status}") for status in ("PredictedByMachine", "ValidatedByHuman")]
    values = [float(one[ABUNDANCE]["measurementValue"]) for one in both]
    assert values == pytest.approx([2 / 0.005, 1 / 0.005])
    assert sum(values) == pytest.approx(counts["A", "calanus"].per_liter)
    assert both[0][ABUNDANCE]["measurementTypeID"].endswith("/SDBIOL01/")
    assert "corrected" not in " ".join(both[0])


def test_biovolume_in_the_water_is_a_measurement(tmp_path: Path) -> None:
    folder = make_survey(tmp_path / "survey")
    with Survey.open(folder, to_add=True) as survey:
        add_measures(survey, [Measured(f"A/00{number}.png", {"biovolume_um3": 1000.0}) for number in range(4)])
        count = next(one for one in count_survey(survey).counts if (one.sample, one.name) == ("A", "calanus"))
    rows = measured(publish(tmp_path, survey=folder).target, "A:Calanus:PredictedByMachine")
    kind = "Biovolume of biological entity specified elsewhere per unit volume of the water body"
    assert float(rows[kind]["measurementValue"]) == pytest.approx(4 * 1000e-9 / 5e-6)  # mm3 in m3
    assert rows[kind]["measurementUnitID"].endswith("P06/current/CMCM/")
    for end, value in (("lower", count.biovolume_mm3_per_m3_low), ("upper", count.biovolume_mm3_per_m3_high)):
        row = rows[f"{kind}: {end} end of the 90% interval"]
        assert float(row["measurementValue"]) == pytest.approx(value, rel=1e-5)
        assert (row["measurementTypeID"], row["measurementUnit"]) == ("", rows[kind]["measurementUnit"])


def corrected(survey: Survey, by: object = (), **options: object) -> Counts:
    """Counts as the correction gives them: 1.5 times the images of the class, in 5 and 2.5 mL of water."""
    counts = count_survey(survey, ())
    volume = {"A": 0.005, "B": 0.0025}

    def estimate(images: int, sample: str) -> dict[str, float]:
        value = 1.5 * images
        per_liter = value / volume[sample]
        ends = {"low": value - 0.5, "high": value + 0.5}
        return {"corrected": value, "per_liter": per_liter, **ends} | {
            f"per_liter_{name}": end / volume[sample] for name, end in ends.items()
        }

    samples = tuple(replace(one, volume_l=volume[one.name], fraction=0.25) for one in counts.samples)
    rows = tuple(replace(one, **estimate(one.raw + one.confirmed, one.sample)) for one in counts.counts)
    return Counts(counts.by, samples, rows, "EM (Saerens et al. 2002)")


def test_corrected_abundances_and_their_interval_are_further_measurements(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pelagia_inference.counts.counts.count_survey", corrected)
    archive = publish(tmp_path).target
    abundance = ABUNDANCE
    machine = measured(archive, "A:Calanus:PredictedByMachine")
    assert float(machine[abundance]["measurementValue"]) == pytest.approx(2 / 0.005)
    assert machine[abundance]["measurementUnitID"] == "http://vocab.nerc.ac.uk/collection/P06/current/UCPL/"
    assert float(machine[f"{abundance}, corrected"]["measurementValue"]) == pytest.approx(1.5 * 3 / 0.005)
    assert machine[f"{abundance}, corrected"]["measurementTypeID"] == ""
    assert "EM (Saerens" in machine[f"{abundance}, corrected"]["measurementMethod"]
    low, high = (f"{abundance}, corrected: {end} end of the 90% interval" for end in ("lower", "upper"))
    assert [float(machine[name]["measurementValue"]) for name in (low, high)] == pytest.approx([800, 1000])
    assert f"{abundance}, corrected" not in measured(archive, "A:Calanus:ValidatedByHuman")
    assert low not in measured(archive, "A:Copepoda:PredictedByMachine")  # two classes: intervals do not add
    of_sample = measured(archive, "sample:A")
    assert float(of_sample["Volume sampled of the water body"]["measurementValue"]) == pytest.approx(5e-6)
    assert float(of_sample["Sub-sampling coefficient"]["measurementValue"]) == 0.25


def test_a_volume_in_cubic_metres_gives_numbers_per_cubic_metre(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pelagia_inference.counts.counts.count_survey", corrected)
    net = {name: {**columns, "sampleSizeUnit": "cubic metre"} for name, columns in SAMPLES.items()}
    archive = publish(tmp_path, survey=make_survey(tmp_path / "net", net)).target
    row = measured(archive, "A:Calanus:PredictedByMachine")[ABUNDANCE]
    assert float(row["measurementValue"]) == pytest.approx(4 / 0.005 * 1000)
    assert row["measurementUnitID"] == "http://vocab.nerc.ac.uk/collection/P06/current/UPMM/"


def test_absences_are_written_when_asked_and_not_above_a_taxon_that_is_there(tmp_path: Path) -> None:
    done = publish(tmp_path, absences=True)
    absent = {
        (row["eventID"][-1], row["scientificName"], row["individualCount"])
        for row in tables_of(done.target)["Occurrence"]
        if row["occurrenceStatus"] == "absent"
    }
    assert absent == {("A", "Chaetognatha", "0")}  # B has Calanus, so Copepoda is there
    assert done.absences == 1


def test_what_is_no_organism_and_what_failed_are_left_out_and_counted(tmp_path: Path) -> None:
    done = publish(tmp_path)
    assert done.not_organisms == {"bubble": 7}
    assert done.failed == 1
    assert sum(int(row["individualCount"]) for row in tables_of(done.target)["Occurrence"]) == 11


def test_the_archive_follows_the_text_guide_and_has_the_terms_that_obis_requires(tmp_path: Path) -> None:
    archive = publish(tmp_path, absences=True).target
    assert faults_of(archive) == []


def test_the_checker_of_the_tests_finds_what_is_missing(tmp_path: Path) -> None:
    without = {name: {**columns, "decimalLatitude": ""} for name, columns in SAMPLES.items()}
    archive = publish(tmp_path, survey=make_survey(tmp_path / "no", without), incomplete=True).target
    assert faults_of(archive) == ["event.txt: cruise1:sample:A: no decimalLatitude"] * 1 + [
        "event.txt: cruise1:sample:A: no decimalLongitude",
        "event.txt: cruise1:sample:B: no decimalLatitude",
        "event.txt: cruise1:sample:B: no decimalLongitude",
    ]


def faults_of(path: Path) -> list[str]:
    """Checks an archive by the Darwin Core text guide and the terms that OBIS requires, without Pelagia's own code."""
    space = {"d": "http://rs.tdwg.org/dwc/text/"}
    faults, tables = [], {}
    with zipfile.ZipFile(path) as archive:
        meta = Xml.fromstring(archive.read("meta.xml"))
        Xml.fromstring(archive.read(meta.get("metadata") or ""))
        for node in [*meta.findall("d:core", space), *meta.findall("d:extension", space)]:
            location = node.findtext("d:files/d:location", namespaces=space) or ""
            lines = archive.read(location).decode("utf-8").split("\n")
            assert lines.pop() == ""
            fields = {int(one.get("index") or 0): one.get("term") or "" for one in node.findall("d:field", space)}
            width = max(fields) + 1
            rows = [line.split("\t") for line in lines[int(node.get("ignoreHeaderLines") or 0) :]]
            faults += [f"{location}: a row has {len(row)} cells" for row in rows if len(row) != width]
            tables[location] = [
                {fields[i].rpartition("/")[2] if i else "id": text for i, text in enumerate(row)} for row in rows
            ]
    events = {row["eventID"]: row for row in tables["event.txt"]}
    assert len(events) == len(tables["event.txt"])
    for name in ("occurrence.txt", "extendedmeasurementorfact.txt"):
        faults += [f"{name}: no event {row['id']}" for row in tables[name] if row["id"] not in events]
    faults += [
        f"no parent {row['parentEventID']}" for row in events.values() if row["parentEventID"] not in {*events, ""}
    ]
    occurrences = {row["occurrenceID"]: row for row in tables["occurrence.txt"]}
    assert len(occurrences) == len(tables["occurrence.txt"])
    for row in events.values():
        if row["eventType"] == "sample":
            terms = ("eventDate", "decimalLatitude", "decimalLongitude")
            faults += [f"event.txt: {row['eventID']}: no {term}" for term in terms if not row[term]]
    for row in occurrences.values():
        terms = ("occurrenceStatus", "basisOfRecord", "scientificName")
        faults += [f"occurrence.txt: {row['occurrenceID']}: no {term}" for term in terms if not row[term]]
    for row in tables["extendedmeasurementorfact.txt"]:
        if row["occurrenceID"] and row["occurrenceID"] not in occurrences:
            faults.append(f"no occurrence {row['occurrenceID']}")
        if not math.isfinite(float(row["measurementValue"])) if row["measurementUnit"] else False:
            faults.append(f"no number: {row}")
    return faults


def test_the_description_of_the_dataset_escapes_text_and_has_license_and_box(tmp_path: Path) -> None:
    with dwca.DwCAReader(publish(tmp_path).target) as reader:
        eml = reader.metadata.find("dataset")
    assert eml.findtext("title") == "Plankton & <fish> of a test"
    assert eml.findtext("creator/individualName/surName") == "Example"
    assert "creativecommons.org/licenses/by/4.0" in eml.find("intellectualRights/para/ulink").get("url")
    box = eml.find("coverage/geographicCoverage/boundingCoordinates")
    assert [node.text for node in box] == ["7.25", "8.0", "55.125", "54.5"]
    order = [node.tag for node in eml]
    assert order == sorted(order, key=ORDER.index)


ORDER = (
    "title creator metadataProvider pubDate language abstract keywordSet intellectualRights coverage contact methods"
)
ORDER = ORDER.split()  # type: ignore[assignment]


def test_nothing_is_written_if_something_that_is_required_is_missing(tmp_path: Path) -> None:
    bad = {
        "A": {**SAMPLES["A"], "eventDate": "01.05.2024", "decimalLongitude": "187"},
        "B": {name: text for name, text in SAMPLES["B"].items() if name != "eventDate"},
    }
    survey = make_survey(tmp_path / "bad", bad, confirmed=[Confirmed("A/000.png", "krill", "Ann")])
    with pytest.raises(InputError) as error:
        publish(tmp_path, "id: x\ntitle: T\nlicense: CC0-1.0\n", survey=survey)
    text = str(error.value)
    assert "creators: the metadata has none" in text
    assert "eventDate: 2 of 2 samples have none (A: '01.05.2024' is not a time or number, B)" in text
    assert "decimalLongitude: 1 of 2 samples have none (A: 187 to 187 is outside -180 to 180)" in text
    assert "scientificName: 1 taxa or classes have none (krill)" in text
    assert "--incomplete" in text
    assert "a template to fill in is written" in text
    assert not (tmp_path / "dwc.zip").exists()


def test_positions_and_times_that_differ_in_a_sample_become_their_middle_and_span(tmp_path: Path) -> None:
    folder = make_survey(tmp_path / "moving", {"A": SAMPLES["A"]}, {"A": IMAGES["A"]})
    later = {**SAMPLES["A"], "eventDate": "2024-05-01 11:00:00Z", "decimalLatitude": "54.6"}
    make_survey(folder, {"A": later}, {"A": IMAGES["A"][:1]})  # the first image is written again
    events = {row["eventID"]: row for row in tables_of(publish(tmp_path, survey=folder).target)["Event"]}
    sample = events["cruise1:sample:A"]
    assert sample["eventDate"] == "2024-05-01T10:00:00Z/2024-05-01T11:00:00Z"
    assert sample["decimalLatitude"] == "54.55"
    assert float(sample["coordinateUncertaintyInMeters"]) == pytest.approx(100 + 5560, abs=5)  # 0.05 degrees: 5.56 km
    assert "54.5 to 54.6" in sample["eventRemarks"]


def test_a_file_of_metadata_that_is_not_there_is_written_as_a_template(tmp_path: Path) -> None:
    folder = make_survey(tmp_path / "survey", confirmed=CONFIRMED)
    file = tmp_path / "new.yaml"
    with Survey.open(folder) as survey:
        with pytest.raises(InputError, match="a template was written there"):
            write_dwc(survey, tmp_path / "dwc.zip", metadata=file)
        assert "bob@example.org: ''" in file.read_text(encoding="utf-8")
        with pytest.raises(InputError, match="title: the metadata has none"):
            write_dwc(survey, tmp_path / "dwc.zip", metadata=file)
        file.write_text("id: a b\nlicence: x\n", encoding="utf-8")
        with pytest.raises(ConfigError, match="license"):
            write_dwc(survey, tmp_path / "dwc.zip", metadata=file)


def test_a_survey_without_taxa_needs_a_taxonomy(tmp_path: Path) -> None:
    plain = TAXONOMY.model_copy(
        update={"taxa": (), "classes": tuple(one.model_copy(update={"taxon": None}) for one in TAXONOMY.classes)}
    )
    with pytest.raises(InputError, match="no taxa.*--taxonomy"):
        publish(tmp_path, survey=make_survey(tmp_path / "plain", taxonomy=plain))
    with pytest.raises(InputError, match="older Pelagia.*--taxonomy"):
        publish(tmp_path, survey=make_survey(tmp_path / "old", card=False))


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    publish(tmp_path)
    with pytest.raises(InputError, match="exists already"):
        publish(tmp_path, survey=tmp_path / "survey")


def test_the_command_writes_the_archive_and_says_what_is_left_out(pelagia: Pelagia, tmp_path: Path) -> None:
    folder = make_survey(tmp_path / "survey", confirmed=CONFIRMED)
    file = tmp_path / "dataset.yaml"
    command = ("survey", "export", folder, "--to", "dwc", "--metadata", file)
    first = pelagia(*command)
    assert (first.returncode, "a template was written there" in first.stderr) == (2, True)
    refused = pelagia(*command)
    assert (refused.returncode, "creators: the metadata has none" in refused.stderr) == (2, True)
    assert not (folder / "exports" / "dwc").exists()
    file.write_text(METADATA, encoding="utf-8")
    done = pelagia(*command, "--absences")
    assert done.returncode == 0, done.stderr
    assert "5 events, 7 occurrences (3 of them confirmed by people, 1 absences)" in done.stderr
    assert "left out: 7 images of 'bubble', which is not an organism" in done.stderr
    assert "left out: 1 images that could not be classified" in done.stderr
    assert faults_of(folder / "exports" / "dwc" / "dwca.zip") == []
