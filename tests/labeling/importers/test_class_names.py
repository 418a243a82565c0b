"""Spellings of class names."""

import unicodedata

import pytest

from pelagia.errors import InputError
from pelagia_labeling.importers.class_names import parse_renames
from pelagia_labeling.importers.dataset import import_dataset

NFC, NFD = (unicodedata.normalize(form, "détritus") for form in ("NFC", "NFD"))


@pytest.fixture
def folders(tmp_path, put):
    """Makes class folders with some images each: ``folders(Copepoda=3)``."""

    def folders(counts):
        seed = 0
        for name, count in counts.items():
            for at in range(count):
                seed += 1
                put(tmp_path / "src" / name / f"{at}.png", seed=seed)
        return tmp_path / "src"

    return folders


def test_two_unicode_forms_are_one_class(folders, tmp_path):
    made = import_dataset(folders({NFC: 2, NFD: 2, "Ceratium": 1}), tmp_path / "ds")
    assert made.class_names == ("Ceratium", NFC)
    assert sum(made.meta.counts[NFC].values()) == 4
    assert made.meta.warnings == ()


def test_spellings_are_warned_of_with_the_options_that_merge_them(folders, tmp_path):
    src = folders({"Copepoda": 3, "copepoda": 1, "COPEPODA": 2, "Noctiluca sp": 1, "Noctiluca_sp": 2})
    made = import_dataset(src, tmp_path / "ds")
    assert made.class_names == ("COPEPODA", "Copepoda", "Noctiluca sp", "Noctiluca_sp", "copepoda")
    assert made.meta.warnings == (
        "the classes 'COPEPODA' (2 images), 'Copepoda' (3 images), 'copepoda' (1 images) differ only in case, spaces "
        "or signs; to merge them, import again with --rename COPEPODA=Copepoda --rename copepoda=Copepoda",
        "the classes 'Noctiluca sp' (1 images), 'Noctiluca_sp' (2 images) differ only in case, spaces or signs; to "
        "merge them, import again with --rename 'Noctiluca sp=Noctiluca_sp'",
    )
    renames = parse_renames(["COPEPODA=Copepoda", "copepoda=Copepoda", "Noctiluca sp=Noctiluca_sp"])
    merged = import_dataset(src, tmp_path / "merged", renames=renames)
    assert merged.class_names == ("Copepoda", "Noctiluca_sp")
    assert merged.meta.warnings == ()


def test_a_class_to_rename_must_occur(folders, tmp_path, fault):
    src = folders({"Copepoda": 1})
    assert fault(InputError, src, tmp_path / "ds", renames={"Copepod": "x"}) == (
        "--rename: there is no class 'Copepod' (did you mean 'Copepoda'?); there are: Copepoda"
    )


@pytest.mark.parametrize("text", ["Copepoda", "=x", "x="])
def test_a_rename_has_two_names(text):
    with pytest.raises(InputError, match=f"--rename {text} is not of the form OLD=NEW"):
        parse_renames([text])
