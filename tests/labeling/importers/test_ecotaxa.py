import pytest

from pelagia.errors import DatasetError, InputError
from pelagia_labeling.importers.dataset import import_dataset

ECOTAXA = (
    "img_file_name\tobject_id\tobject_annotation_category\tobject_annotation_status\tsample_id\t"
    "object_annotation_person_name\n"
)


@pytest.fixture
def ecotaxa(tmp_path, put):
    """An EcoTaxa export with the given rows; its images are 0.png to 5.png."""

    def ecotaxa(*rows, types=True, header=ECOTAXA):
        for at in range(6):
            put(tmp_path / "src" / f"{at}.png", seed=at)
        lines = ["[t]" + "\t[t]" * 5] * types + ["\t".join(row) for row in rows]
        text = "\ufeff" + header + "".join(f"{line}\r\n" for line in lines)
        (tmp_path / "src" / "ecotaxa_1.tsv").write_text(text, encoding="utf-8", newline="")
        return tmp_path / "src"

    return ecotaxa


def row(at, status="validated", category="Copepoda", sample="s1", person="Ann"):
    return (f"{at}.png", f"o{at}", category, status, sample, person)


def test_only_validated_objects_are_taken(ecotaxa, tmp_path):
    src = ecotaxa(
        row(0), row(1, "predicted"), row(2, "dubious"), row(3, ""), row(4, category=""), row(5, category="Salpida")
    )
    made = import_dataset(src, tmp_path / "ds")
    assert sorted((record.source, record.class_name, record.group, record.annotators) for record in made.records) == [
        ("0.png", "Copepoda", "s1", "Ann"),
        ("5.png", "Salpida", "s1", "Ann"),
    ]
    assert made.meta.left_out == {"no_class": 1, "status_dubious": 1, "status_none": 1, "status_predicted": 1}
    assert made.meta.split.group_column == "sample_id"


def test_other_statuses_are_taken_when_asked(ecotaxa, tmp_path):
    src = ecotaxa(row(0), row(1, "predicted"))
    assert import_dataset(src, tmp_path / "ds", statuses={"predicted"}).records[0].source == "1.png"


def test_an_export_without_the_line_of_types_is_read(ecotaxa, tmp_path):
    assert import_dataset(ecotaxa(row(0), types=False), tmp_path / "ds").meta.images == 1


def test_the_other_columns_of_an_object_are_kept(ecotaxa, tmp_path):
    (record,) = import_dataset(ecotaxa(row(0)), tmp_path / "ds").records
    assert record.extra == {"object_id": "o0", "object_annotation_status": "validated", "sample": "s1"}


def test_an_export_without_anything_validated_is_refused(ecotaxa, tmp_path, fault):
    src = ecotaxa(row(0, "predicted"), row(1, "predicted"))
    assert fault(DatasetError, src, tmp_path / "ds") == (
        f"no object of {src} can be used (2 with the status predicted, 4 images of an EcoTaxa export that its tables "
        "do not name): only the status validated is taken, with a value in object_annotation_category and in "
        "sample_id; name other statuses with --status, and another column of groups with --group-column"
    )


def test_an_empty_export_is_refused(ecotaxa, tmp_path, fault):
    src = ecotaxa()
    assert fault(InputError, src, tmp_path / "ds") == f"{src / 'ecotaxa_1.tsv'} has no object"


@pytest.mark.parametrize("missing", ["img_file_name", "object_annotation_status"])
def test_a_table_that_is_not_an_export_is_refused(ecotaxa, tmp_path, missing, fault):
    src = ecotaxa(row(0), header=ECOTAXA.replace(missing, "zzz"))
    text = fault(InputError, src, tmp_path / "ds")
    assert text.startswith(f"{src / 'ecotaxa_1.tsv'} has no column '{missing}'")
    assert text.endswith(": is it an EcoTaxa export with images?")


def test_a_table_without_the_column_of_groups_names_the_option(ecotaxa, tmp_path, fault):
    src = ecotaxa(row(0))
    text = fault(InputError, src, tmp_path / "ds", group_column="sample_ids")
    assert text.startswith(
        f"{src / 'ecotaxa_1.tsv'} has no column 'sample_ids' (did you mean 'sample_id'?): name another one with "
        "--group-column; it has: sample_id, img_file_name, "
    )


def test_a_cell_that_begins_with_a_quote_is_read(ecotaxa, tmp_path):
    src = ecotaxa(row(0), row(1, person='"Ann'), row(2, person='"Ann" B'))
    made = import_dataset(src, tmp_path / "ds")
    assert [record.annotators for record in made.records] == ["Ann", '"Ann', '"Ann" B']


def test_several_tables_are_one_dataset(ecotaxa, tmp_path):
    src = ecotaxa(row(0), row(1))
    (src / "ecotaxa_2.tsv").write_text(ECOTAXA + "\t".join(row(2, sample="s2")) + "\n")
    assert {record.group for record in import_dataset(src, tmp_path / "ds").records} == {"s1", "s2"}
