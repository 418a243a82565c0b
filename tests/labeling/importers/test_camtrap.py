"""Camtrap DP packages."""

import pytest

from pelagia.errors import InputError
from pelagia_labeling.importers.dataset import import_dataset
from pelagia_labeling.importers.published_split import PublishedSplit

MEDIA = """mediaID,deploymentID,timestamp,filePath,fileMediatype
m1,d1,2024-05-01T10:00:00Z,media/1.png,image/png
m2,d1,2024-05-01T10:01:00Z,media/2.png,image/png
m3,d2,2024-05-01T10:02:00Z,media/3.png,image/png
m4,d2,2024-05-01T10:03:00Z,https://example.org/media/4.png,image/png
m5,d2,2024-05-01T10:04:00Z,media/5.png,image/png
"""
OBSERVATIONS = """observationID,deploymentID,mediaID,observationType,scientificName,lifeStage
o1,d1,m1,animal,Gadus morhua,adult
o2,d1,m2,blank,,
o3,d2,m3,animal,Gadus morhua,
o4,d2,m3,animal,Pollachius virens,
o5,d2,m4,animal,Pollachius virens,juvenile
o6,d2,,animal,Gadus morhua,
o7,d2,m5,animal,Gadus morhua,
o8,d2,m5,animal,Gadus morhua,
"""


@pytest.fixture
def package(tmp_path, put):
    for at in range(1, 6):
        put(tmp_path / "package" / "media" / f"{at}.png", seed=at)
    (tmp_path / "package" / "media.csv").write_text(MEDIA)
    (tmp_path / "package" / "observations.csv").write_text(OBSERVATIONS)
    return tmp_path / "package"


@pytest.mark.parametrize("manifest", ["", "media.csv", "observations.csv", "."])
def test_images_with_one_species_are_imported_by_deployment(package, tmp_path, manifest):
    options = {"manifest": package / manifest} if manifest else {}
    made = import_dataset(package, tmp_path / "ds", join_near_duplicates=False, **options)
    assert {(record.source, record.class_name, record.group) for record in made.records} == {
        ("media/1.png", "Gadus morhua", "d1"),
        ("media/4.png", "Pollachius virens", "d2"),
        ("media/5.png", "Gadus morhua", "d2"),
    }
    assert made.meta.left_out == {"no_class": 1, "of_an_event": 1, "several_classes": 1}
    assert made.records[0].extra["eventDate"].startswith("2024-05-01T10:0")


def test_an_observed_image_that_the_media_table_lacks_is_counted(package, tmp_path):
    (package / "observations.csv").write_text(OBSERVATIONS + "o9,d2,m77,animal,Gadus morhua,\n")
    made = import_dataset(package, tmp_path / "ds", join_near_duplicates=False)
    assert made.meta.left_out["not_in_media_table"] == 1


def test_an_observation_of_an_event_is_not_one_of_its_image(package, tmp_path):
    header, *rows = OBSERVATIONS.splitlines()
    levels = ["event" if row.startswith("o4") else "media" for row in rows]
    table = [f"{header},observationLevel", *(f"{row},{level}" for row, level in zip(rows, levels, strict=True))]
    (package / "observations.csv").write_text("\n".join(table) + "\n")
    made = import_dataset(package, tmp_path / "ds", join_near_duplicates=False)
    assert {record.source: record.class_name for record in made.records}["media/3.png"] == "Gadus morhua"
    assert made.meta.left_out == {"no_class": 1, "of_an_event": 2}


def test_another_column_may_hold_the_class(package, tmp_path):
    made = import_dataset(package, tmp_path / "ds", class_column="lifeStage", join_near_duplicates=False)
    assert set(made.class_names) == {"adult", "juvenile"}


def test_a_column_that_the_package_lacks_is_refused(package, tmp_path, fault):
    message = fault(InputError, package, tmp_path / "ds", group_column="cruise")
    assert "has no column 'cruise' (--group-column); it has: " in message


def test_an_observation_of_nothing_that_names_a_species_is_not_used(package, tmp_path):
    (package / "observations.csv").write_text(OBSERVATIONS.replace("o2,d1,m2,blank,,", "o2,d1, m2,Blank,Gadus morhua,"))
    made = import_dataset(package, tmp_path / "ds", join_near_duplicates=False)
    assert "media/2.png" not in {record.source for record in made.records}
    assert made.meta.warnings[0] == (
        f"{package / 'observations.csv'}: 1 observations have the observationType 'blank' and a scientificName, such "
        "as 'Gadus morhua' on m2: they were not used; correct one of the two columns"
    )


def test_spaces_around_a_media_id_do_not_matter(package, tmp_path):
    (package / "observations.csv").write_text(OBSERVATIONS.replace("o1,d1,m1,", "o1,d1, m1 ,"))
    made = import_dataset(package, tmp_path / "ds", join_near_duplicates=False)
    assert "media/1.png" in {record.source for record in made.records}


def test_two_images_with_one_media_id_are_refused(package, tmp_path, fault):
    (package / "media.csv").write_text(MEDIA.replace("m3,d2", "m1,d2"))
    assert fault(InputError, package, tmp_path / "ds") == (
        f"{package / 'media.csv'}, line 4: the mediaID 'm1' is on line 2 already: give each image its own, or remove "
        "one of the lines"
    )


def test_two_columns_of_media_ids_are_refused_without_an_option_that_does_not_help(package, tmp_path, fault):
    (package / "media.csv").write_text(MEDIA.replace("mediaID,deploymentID", "media_id,Media ID"))
    assert fault(InputError, package, tmp_path / "ds").endswith("which may both be the mediaID: rename or remove one")


def test_a_package_has_no_folders_of_a_split(package, tmp_path, fault):
    message = fault(InputError, package, tmp_path / "ds", published=PublishedSplit(folders=True))
    assert message == "--split-folders is for class folders only, and the source is a Camtrap DP package: leave it out"
