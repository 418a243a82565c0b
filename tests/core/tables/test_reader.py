"""Tables as people have them: encodings, layouts, quotes and missing values."""

import io

import pytest

from pelagia.errors import InputError
from pelagia.tables.reader import is_missing, number, open_table, table_of

ROWS = [{"path": "été.png", "depth": "5"}]


def read(data, known=("path",)):
    """Rows and warnings of a table of these bytes."""
    said = []
    table = table_of("t.csv", lambda: io.BytesIO(data), warn=said.append, known=known)
    return [row for _, row in table.rows()], said


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_each_encoding_separator_and_line_end_is_found(encoding, end, separator):
    text = end.join(["path,depth", "été.png,5", ""]).replace(",", separator)
    assert read(text.encode(encoding)) == (ROWS, [])


def test_a_table_in_windows_1252_is_read_with_a_warning():
    rows, said = read("path,depth\nété.png,5\n".encode("cp1252"))
    assert rows == ROWS
    assert said == [
        "t.csv is not UTF-8 text and was read as Windows-1252; its first word with a special letter is 'été.png': if "
        "that is wrong, save the file as UTF-8 (in Excel: CSV UTF-8)"
    ]


def test_one_byte_that_is_not_utf8_far_down_is_refused_before_the_first_row():
    lines = [f"été{at}.png,5\n".encode() for at in range(100_000)]
    lines[90_000] = b"\xe9t\xe9.png,5\n"
    with pytest.raises(InputError, match="t.csv, line 90002: this line is not UTF-8 text, but others are"):
        table_of("t.csv", lambda: io.BytesIO(b"path,depth\n" + b"".join(lines)))


@pytest.mark.parametrize("data", [b"path,a\n\x81\x8d,1\n", "path,a\nx,1\n".encode("utf-16")[:-1], bytes(range(256))])
def test_what_is_not_text_is_refused(data):
    with pytest.raises(InputError, match="t.csv"):
        read(data)


@pytest.mark.parametrize(
    "text",
    [
        "sep=;\r\npath;depth\r\nété.png;5\r\n",
        '"sep=;"\npath;depth\nété.png;5\n',
        "# made by a program\n# version 2\npath,depth\nété.png,5\n",
        "\n\npath,depth\n\nété.png,5\n",
        " path , depth ,,,\nété.png,5,,,\n,,,,\n",
        ',path,depth\n1,"été.png",5\n',
    ],
)
def test_what_programs_write_around_a_table_is_passed_over(text):
    assert read(text.encode()) == (ROWS, [])


@pytest.mark.parametrize("title", ["Cruise 12", "Cruise 12, leg 2", "Cruise 12;;;"])
def test_a_title_above_the_header_is_passed_over_with_a_warning(title):
    rows, said = read(f"{title}\npath,depth,note\nété.png,5,x\n".encode())
    assert rows == [{**ROWS[0], "note": "x"}]
    assert said == [f"t.csv: the header was found on line 2; the lines before it were passed over, the first: {title}"]


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ('"Tara" leg 2', '"Tara" leg 2'),
        ('5" net', '5" net'),
        ('"a ""b"""', 'a "b"'),
        ('"a \\"b\\""', 'a "b"'),
        ('"C:\\x\\"', "C:\\x\\"),
        ('"a;b,c"', "a;b,c"),
        ('"two\nlines"', "two\nlines"),
        ('""', ""),
    ],
)
@pytest.mark.parametrize("separator", [",", "\t"])
def test_quotes_are_read_as_they_were_meant(cell, text, separator):
    table = separator.join(["path", "note", "end"]) + "\n" + separator.join(["a.png", cell, "x"]) + "\n"
    assert read(table.encode())[0] == [{"path": "a.png", "note": text, "end": "x"}]


def test_a_quote_that_is_never_closed_is_a_character_between_tabs():
    rows, _ = read(b'path\tnote\na.png\t"Tara\nb.png\t"Tara\nc.png\t5"\n')
    assert [row["note"] for row in rows] == ['"Tara', '"Tara', '5"']


def test_two_separators_that_fit_equally_are_refused():
    with pytest.raises(InputError, match="t.csv may be separated by comma or by semicolon: write 'sep=;'"):
        read(b"a,b;c\n1,2;3\n", known=())
    assert read(b"sep=;\na,b;c\n1,2;3\n", known=())[0] == [{"a,b": "1,2", "c": "3"}]


def test_a_column_without_a_name_that_has_values_is_said():
    rows, said = read(b"path,,depth\na.png,net,5\nb.png,net,6\n")
    assert rows[0] == {"path": "a.png", "depth": "5"}
    assert said == ["t.csv: column 2 has values but no name; it was left out"]


@pytest.mark.parametrize(
    "text", ["", " ", "NA", "N/A", "nan", "NaN", "NULL", "None", "#N/A", "-999", "99999", "99999,0"]
)
def test_missing_values_are_known(text):
    assert is_missing(text)
    assert number(text) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("43,685", 43.685),
        (" 43.685 ", 43.685),
        ("-1e-3", -0.001),
        ("0", 0.0),
        ("1_000", None),
        ("1.234,5", None),
        ("inf", None),
    ],
)
def test_a_number_may_have_a_decimal_comma(text, value):
    assert number(text) == value


def test_an_excel_workbook_is_read_as_excel_shows_it(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    from datetime import date, datetime

    book = openpyxl.Workbook()
    book.active.append(["notes"])
    sheet = book.create_sheet("images")
    for row in (
        ["Cruise 12"],
        ["path", "depth", "day", "at", "ok", None],
        ["a.png", 5.0, date(2024, 5, 1), None, True],
    ):
        sheet.append(row)
    sheet.append(["b.png", 0.25, None, datetime(2024, 5, 1, 10, 30), "#N/A"])
    book.save(tmp_path / "t.xlsx")
    said = []
    table = open_table(tmp_path / "t.xlsx", warn=said.append, known={"path"})
    assert list(table.rows()) == [
        (3, {"path": "a.png", "depth": "5", "day": "2024-05-01", "at": "", "ok": "TRUE"}),
        (4, {"path": "b.png", "depth": "0.25", "day": "", "at": "2024-05-01T10:30:00", "ok": "#N/A"}),
    ]
    assert said == [f"{tmp_path / 't.xlsx'}: the sheet 'images' was read; not read: 'Sheet'"]


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 no workbook", b"path,a\nx,1\n"])
def test_a_file_that_is_no_workbook_is_refused(tmp_path, data):
    pytest.importorskip("openpyxl")
    (tmp_path / "t.xlsx").write_bytes(data)
    with pytest.raises(InputError, match="cannot be read as an Excel workbook"):
        open_table(tmp_path / "t.xlsx")


@pytest.mark.parametrize("ending", [".xls", ".ods"])
def test_other_spreadsheets_are_told_what_to_do(tmp_path, ending):
    (tmp_path / f"t{ending}").touch()
    with pytest.raises(InputError, match=f"ends in {ending} cannot be read: save it as .xlsx or CSV UTF-8"):
        open_table(tmp_path / f"t{ending}")
