import pytest

from pelagia.errors import ConfigError, InputError
from pelagia_labeling.importers.dataset import import_dataset


@pytest.mark.parametrize(("name", "problem"), [("no", "does not exist"), ("file", "is not a folder")])
def test_a_source_that_is_not_a_folder_is_refused(tmp_path, name, problem, fault):
    (tmp_path / "file").touch()
    assert fault(InputError, tmp_path / name, tmp_path / "ds") == (
        f"{tmp_path / name} {problem}: name the folder that holds the images"
    )


def test_an_archive_that_is_not_an_export_is_named_with_the_remedy(tmp_path, fault):
    (tmp_path / "crops.zip").write_bytes(b"PK")
    assert fault(InputError, tmp_path / "crops.zip", tmp_path / "ds") == (
        f"{tmp_path / 'crops.zip'} is an archive, and not a complete EcoTaxa export: copy it again if it is one, "
        "otherwise unpack it, and name the folder"
    )


def test_a_licence_is_given_to_every_image(class_folders, tmp_path):
    made = import_dataset(class_folders, tmp_path / "ds", licence="CC-BY-4.0")
    assert {record.licence for record in made.records} == {"CC-BY-4.0"}


def test_progress_reaches_the_total(class_folders, tmp_path):
    steps = []
    import_dataset(class_folders, tmp_path / "ds", progress=lambda done, total: steps.append((done, total)))
    assert steps == [(at, 12) for at in range(1, 13)]


def test_the_seed_and_the_shares_are_kept(class_folders, tmp_path):
    made = import_dataset(class_folders, tmp_path / "ds", fractions=(0.5, 0.5, 0), seed=4)
    assert (made.meta.split.seed, made.meta.split.fractions) == (4, (0.5, 0.5, 0))
    assert {record.split for record in made.records} == {"train", "val"}


def test_wrong_shares_and_seeds_are_one_message(class_folders, tmp_path, fault):
    assert fault(ConfigError, class_folders, tmp_path / "ds", fractions=(0.5, 0.6, 0.1), seed=-1) == (
        "the split: 2 faults\n"
        "  - fractions: train, val and test must be shares that sum to 1, with train above 0, not (0.5, 0.6, 0.1)\n"
        "  - seed: input should be greater than or equal to 0 (found -1)"
    )


def test_statuses_are_refused_where_there_is_no_ecotaxa_table(class_folders, tmp_path, fault):
    assert fault(InputError, class_folders, tmp_path / "ds", statuses={"predicted"}) == (
        "--status is for EcoTaxa exports only: leave it out, or name a folder that holds ecotaxa*.tsv"
    )


def test_another_way_to_treat_conflicts_is_refused(class_folders, tmp_path, fault):
    assert fault(InputError, class_folders, tmp_path / "ds", conflicts="merge") == (
        "--conflicts must be refuse or drop, not 'merge'"
    )
