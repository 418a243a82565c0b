"""Tables in terminals of different widths."""

from collections.abc import Iterator

import pytest

from pelagia.system import console

HEADER = ("person", "other person", "images", "agreement", "kappa")
ROW = ("ann@example.org", "bob.longname@institute.example.org", "120", "88.0% (80.0 to 92.3%)", "0.812 (0.71 to 0.92)")


@pytest.fixture
def of_width(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    yield
    console._console.cache_clear()


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.usefixtures("of_width")
def test_a_table_breaks_names_and_no_figures(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    console._console.cache_clear()
    console.table(HEADER, [ROW])
    lines = capsys.readouterr().out.splitlines()
    assert any(all(figure in line for figure in ROW[2:]) for line in lines)
    names = [line[: line.index("120")] if "120" in line else line for line in lines[1:]]
    assert "".join("".join(names).split()).count("@") == 2  # nothing is cut off
    assert max(map(len, lines)) <= max(width, 84)
    if width == 200:
        assert len(lines) == 2
