"""Manifests: tables of every kind that name images."""

import re
import sys

import pytest

from listing import fault, paths
from pelagia.errors import InputError, MissingExtra
from pelagia.sources import Listing, ListingOptions, list_images, read_manifest

MEASURE = (
    "import sys, resource; from pathlib import Path; from pelagia.sources import list_images\n"
    "images = list_images([Path(sys.argv[1])]); next(images)\n"
    "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
    "count = 1 + sum(1 for _ in images)\n"
    "print(count, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
)


def refusal(action):
    with pytest.raises(InputError) as caught:
        list(action())
    return str(caught.value)


@pytest.fixture
def manifest(tmp_path):
    """A manifest with this text, and empty files for the names in it that end in .png."""

    def manifest(text):
        path = tmp_path / "m.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        text = text if isinstance(text, str) else text.decode("utf-8", "replace")
        for name in re.findall(r"[\w/]{1,80}\.png", text.replace("\\", "/")):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return path

    return manifest


def test_a_manifest_gives_paths_in_its_order_with_its_columns(manifest):
    images = list(read_manifest(manifest("path,station,note\nb.png,S1,\na.png,S2,x\n")))
    assert [(image.path, dict(image.columns)) for image in images] == [
        ("b.png", {"station": "S1", "note": ""}),
        ("a.png", {"station": "S2", "note": "x"}),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "path;station\na.png;S,1\nb.png;S2\n",
        "path\tstation\na.png\tS,1\nb.png\tS2\n",
        'path,station\na.png,"S,1"\nb.png,S2\n',
        'path,station\r\na.png,"S,1"\r\nb.png,S2\r\n',
        'path,station\ra.png,"S,1"\rb.png,S2\r',
        b'\xef\xbb\xbfpath,station\na.png,"S,1"\nb.png,S2\n',
        'path,station\n\na.png,"S,1"\n\n\nb.png,S2\n\n',
        'path,station\na.png,"S,1"\n,\n  ,\nb.png,S2\n,,\n',
        'path,station,\na.png,"S,1",\nb.png,S2,\n',
        'path,station\na.png,"S,1"\nb.png,S2',
        '"path";"station"\n"a.png";"S,1"\nb.png;S2\n',
        '"path",station\n"a.png","S,1"\n"b.png",S2\n',
    ],
)
def test_a_manifest_may_come_from_any_spreadsheet(manifest, text):
    images = list(read_manifest(manifest(text)))
    assert [(image.path, dict(image.columns)) for image in images] == [
        ("a.png", {"station": "S,1"}),
        ("b.png", {"station": "S2"}),
    ]


def test_separators_inside_quotes_do_not_count(manifest):
    (image,) = read_manifest(manifest('path,"depth; min; max; mean"\na.png,5\n'))
    assert dict(image.columns) == {"depth; min; max; mean": "5"}


def test_a_quoted_newline_belongs_to_its_value(manifest):
    (image,) = read_manifest(manifest('path,note\na.png,"two\nlines"\n'))
    assert image.columns["note"] == "two\nlines"


def test_backslashes_of_windows_become_slashes(manifest, tmp_path):
    (image,) = read_manifest(manifest("path\nst1\\a.png\n"))
    assert (image.path, image.file) == ("st1/a.png", tmp_path / "st1" / "a.png")


def test_a_short_row_has_empty_values(manifest):
    (image,) = read_manifest(manifest("path,station,depth\na.png,S1\n"))
    assert dict(image.columns) == {"station": "S1", "depth": ""}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,a\nx.png,1,2\n", ", line 2: more values than the header has columns"),
        ("path,path\nx.png,1\n", " has two columns 'path': rename or remove one"),
        ("path,a\n,1\n", ", line 2: the column 'path' is empty"),
        ("path,a\nx.png,1\ny.png,2\nx.png,3\n", ", line 4: 'x.png' is on line 2 already: remove one of them"),
        ("path,a\n", " has a header and no rows"),
        ("path,a\n,\n", " has a header and no rows"),
        ("", " has no column 'path'; its columns are: none; name it with --path-column"),
        ("\n\n", " has no column 'path'; its columns are: none; name it with --path-column"),
        (
            "Paht,a\nx.png,1\n",
            " has no column 'path'; its columns are: Paht, a; name it with --path-column",
        ),
        ("x.png\ny.png\n", " has no header: its first line is 'x.png'; write a line 'path' above it"),
        (
            "path\nno.jpg\n",
            ": none of the 1 images exists; the first is 'no.jpg': there is no such file in ROOT. The paths "
            "are in the column 'path'; --path-column names another one",
        ),
        ("path,a,a\nx.png,1,2\n", " has two columns 'a': rename or remove one"),
        ("path,a,path\nx.png,1,y.png\n", " has two columns 'path': rename or remove one"),
        (
            'path,a\n"x.png,1\ny.png,2\n',
            ', line 2: the quote (") at the beginning of "x.png is not closed at the end of the cell: remove the '
            "quotes of this cell, or double each quote in it and put the whole cell in quotes",
        ),
        (
            'path,a,b\nx.png,"1,2\ny.png,3,4"\n',
            ', lines 2 to 3: a quote (") joins these lines to one row, which is too short: remove the quote at the '
            "beginning of the cell on line 2, or close it",
        ),
        ("path,a\nx\0.png,1\n", ", line 2: there is a NUL character: copy the file again"),
        (
            "path,a\nx.png," + "9" * 200_000 + "\n",
            ", line 2: a cell has more than 131072 characters: is it a table?",
        ),
    ],
)
def test_a_wrong_manifest_says_where(manifest, text, message):
    path = manifest(text)
    assert refusal(lambda: read_manifest(path)) == f"{path}{message.replace('ROOT', str(path.parent))}"


def test_a_manifest_in_latin_1_is_read_with_a_warning(manifest, tmp_path):
    path = manifest("path,a\nx.png,øre\n".encode("latin-1"))
    listing = Listing()
    (image,) = read_manifest(path, listing=listing)
    assert image.columns == {"a": "øre"}
    assert listing.warning_texts() == (
        f"{path} is not UTF-8 text and was read as Windows-1252; its first word with a special letter is 'øre': if "
        "that is wrong, save the file as UTF-8 (in Excel: CSV UTF-8)",
    )


def test_a_manifest_may_have_another_root_and_column(manifest, tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.png").touch()
    (image,) = read_manifest(manifest("path,photo no.\nx,a.png\n"), tmp_path / "deep", "photo no.")
    assert (image.file, image.columns) == (tmp_path / "deep" / "a.png", {"path": "x"})


def test_a_manifest_is_an_input_like_any_other(manifest):
    assert paths(manifest("path\nb.png\na.png\n")) == ["b.png", "a.png"]


@pytest.mark.parametrize(
    "text",
    ["Path,a\nx.png,1\n", "path , a\nx.png,1\n", ",path,a\n0,x.png,1\n"],
    ids=["capital", "spaces", "the index of pandas"],
)
def test_a_header_that_is_nearly_right_will_do(manifest, text):
    (image,) = read_manifest(manifest(text))
    assert (image.path, image.columns) == ("x.png", {"a": "1"})


def test_a_manifest_that_excel_saved_as_unicode_text_is_read(manifest, tmp_path):
    (tmp_path / "ø.png").touch()
    (image,) = read_manifest(manifest("path\ta\nø.png\t1\n".encode("utf-16")))
    assert (image.path, image.columns) == ("ø.png", {"a": "1"})


def test_one_path_spelled_in_two_ways_is_given_twice(manifest):
    path = manifest("path\nimages/x.png\n./images/x.png\n")
    assert (
        refusal(lambda: read_manifest(path))
        == f"{path}, line 3: 'images/x.png' is on line 2 already: remove one of them"
    )


# Long manifests


def test_a_manifest_is_read_a_row_at_a_time(tmp_path, start):
    with (tmp_path / "m.csv").open("w") as file:
        file.write("path,station,note\n")
        for index in range(200_000):
            file.write(f"folder/{index}.png,S{index % 9},{'x' * 100}\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "0.png").touch()
    count, megabytes = map(int, start(MEASURE, tmp_path / "m.csv").communicate()[0].split())
    assert count == 200_000
    assert megabytes < 12  # the file has 24 MB


def test_a_fault_far_down_costs_nothing_of_what_stands_before(tmp_path):
    (tmp_path / "m.csv").write_text("path,a\n" + "".join(f"{index}.png,1\n" for index in range(50_000)) + "7.png,2\n")
    (tmp_path / "0.png").touch()
    images = list_images([tmp_path / "m.csv"])
    assert [next(images).path for _ in range(50_000)][-1] == "49999.png"
    with pytest.raises(InputError, match="line 50002: '7.png' is on line 9 already: remove one of them"):
        next(images)


def test_a_line_that_would_fill_the_memory_is_refused(tmp_path):
    (tmp_path / "m.csv").write_text("path," + "a," * 600_000)
    assert fault(tmp_path / "m.csv").endswith("m.csv is not a manifest: it has a line of more than 1048576 characters")


# Parquet manifests


@pytest.fixture
def table():
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")

    def table(path, rows, **options):
        parquet.write_table(pyarrow.Table.from_pylist(rows), path, **options)
        return path

    return table


def test_a_parquet_manifest_gives_its_rows_as_text(table, tmp_path):
    from datetime import datetime

    (tmp_path / "b.png").touch()
    rows = [
        {"path": "b.png", "depth": 2.5, "at": datetime(2024, 7, 8, 8, 0), "note": None, "n": 3},
        {"path": "a\\c.png", "depth": None, "at": None, "note": "x", "n": None},
    ]
    images = list(list_images([table(tmp_path / "m.parquet", rows)]))
    assert [(image.path, image.file, dict(image.columns)) for image in images] == [
        ("b.png", tmp_path / "b.png", {"depth": "2.5", "at": "2024-07-08T08:00:00", "note": "", "n": "3"}),
        ("a/c.png", tmp_path / "a" / "c.png", {"depth": "", "at": "", "note": "x", "n": ""}),
    ]


def test_a_parquet_manifest_of_many_row_groups_is_read_in_order(table, tmp_path):
    (tmp_path / "0.png").touch()
    rows = [{"path": f"{index}.png"} for index in range(20_000)]
    assert paths(table(tmp_path / "m.parquet", rows, row_group_size=500)) == [row["path"] for row in rows]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"fiel": "a.png"}], " has no column 'path'; its columns are: fiel; name it with --path-column"),
        (
            [{"path": "a.png"}, {"path": "b.png"}, {"path": "a.png"}],
            ", row 3: 'a.png' is on row 1 already: remove one of them",
        ),
        ([{"path": None, "a": "1"}], ", row 1: the column 'path' is empty"),
    ],
)
def test_a_wrong_parquet_manifest_says_where(table, tmp_path, rows, message):
    (tmp_path / "a.png").touch()
    path = table(tmp_path / "m.parquet", rows)
    assert fault(path) == f"{path}{message}"


def test_a_file_that_is_no_parquet_is_refused(table, tmp_path):
    (tmp_path / "m.parquet").write_bytes(b"no parquet")
    message = fault(tmp_path / "m.parquet")
    assert message.startswith(f"{tmp_path / 'm.parquet'} cannot be read as Parquet: ")
    assert message.endswith("; copy it again, or save it as CSV")


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "m.parquet").write_bytes(b"PAR1")
    with pytest.raises(MissingExtra) as caught:
        paths(tmp_path / "m.parquet")
    assert str(caught.value).startswith("the manifest m.parquet needs the package 'pyarrow', which is not installed")


# Names of columns


@pytest.mark.parametrize(
    "column",
    ["file_name", "filename", "Filename", "file", "filePath", "image", "img_file_name", "image_path", " Image Path "],
)
def test_the_usual_names_of_a_column_of_paths_are_known(manifest, column):
    (image,) = read_manifest(manifest(f"{column},a\nx.png,1\n"))
    assert (image.path, image.columns) == ("x.png", {"a": "1"})


def test_an_option_names_any_other_column_of_paths(manifest):
    listing = Listing(ListingOptions(path_column="crop"))
    (image,) = list_images([manifest("crop,path\nx.png,far\n")], listing)
    assert (image.path, image.columns) == ("x.png", {"path": "far"})


def test_two_columns_of_one_name_apart_from_case_are_refused_by_name(manifest):
    path = manifest("Filename,file_name\nx.png,y.png\n")
    assert refusal(lambda: read_manifest(path)) == (
        f"{path} has the columns 'Filename' and 'file_name', which may both be the "
        "file_name: name one with --path-column"
    )


def test_a_second_column_that_may_hold_paths_is_said(manifest):
    listing = Listing()
    path = manifest("image,file_name\n7,x.png\n")
    assert [image.path for image in read_manifest(path, listing=listing)] == ["x.png"]
    assert listing.warning_texts() == (
        f"{path}: the paths were read from the column 'file_name', not from 'image'; --path-column names another one",
    )


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".txt", ".TSV"])
def test_a_manifest_may_end_in(tmp_path, ending):
    (tmp_path / "a.png").touch()
    (tmp_path / f"m{ending}").write_text("path\tstation\na.png\tS1\n")
    assert paths(tmp_path / f"m{ending}") == ["a.png"]


def test_a_manifest_may_be_an_excel_workbook(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    (tmp_path / "a.png").touch()
    book = openpyxl.Workbook()
    book.active.append(["path", "depth"])
    book.active.append(["a.png", 5.0])
    book.save(tmp_path / "m.xlsx")
    (image,) = list_images([tmp_path / "m.xlsx"])
    assert (image.path, image.columns) == ("a.png", {"depth": "5"})


@pytest.mark.parametrize(
    ("column", "values", "count", "words"),
    [
        ("pixel_size_um", ["10µm", "-1", "1e400", "0", "3.4", "3,4", "", "NA"], 4, "a number above 0, such as '10µm'"),
        ("pixel_size_mm", ["10 mm", "0.01"], 1, "a number above 0, such as '10 mm'"),
        ("decimalLatitude", ["999", "-90", "90.0", "nan", "43,5", "-91"], 3, "degrees between -90 and 90"),
        ("decimalLongitude", ["-180", "181", "4°30", ""], 2, "degrees between -180 and 180"),
        ("latitude", ["999"], 0, ""),
    ],
)
def test_sizes_and_positions_that_cannot_be_right_are_said_once(manifest, column, values, count, words):
    rows = "".join(f"{at}.png\t{value}\n" for at, value in enumerate(values))
    listing = Listing()
    images = list(read_manifest(manifest(f"path\t{column}\n{rows}"), listing=listing))
    assert [image.columns[column] for image in images] == values
    assert list(listing.warnings.values()) == ([count] if count else [])
    assert all(f"the column {column} has values that are not {words}" in text for text in listing.warnings)
