from pathlib import Path

import pytest

from pelagia.config import dump_yaml, validate
from pelagia.errors import ConfigError, InputError
from pelagia.taxonomy import Taxonomy, load_taxonomy, taxonomy_of_names

PROJECT = Path(__file__).resolve().parents[2]


def taxonomy(taxa=(), classes=("copepod",)):
    """Taxa as (name, parent); classes as names or dicts."""
    document = {
        "name": "it",
        "taxa": [{"name": name, "rank": "rank", "parent": parent} for name, parent in taxa],
        "classes": [entry if isinstance(entry, dict) else {"name": entry} for entry in classes],
    }
    return validate(document, Taxonomy, "t.yaml")


def message(*arguments, **options):
    with pytest.raises(ConfigError) as caught:
        taxonomy(*arguments, **options)
    return str(caught.value)


def message_of(taxa):
    with pytest.raises(ConfigError) as caught:
        validate({"name": "it", "taxa": taxa, "classes": [{"name": "a"}]}, Taxonomy, "t.yaml")
    return str(caught.value)


def test_the_order_of_the_classes_is_kept():
    assert taxonomy(classes=("b", "c", "a")).names == ("b", "c", "a")


def test_a_lineage_runs_from_the_root_down():
    tree = taxonomy([("C", "B"), ("A", None), ("B", "A")], [{"name": "c", "taxon": "C"}])
    assert [taxon.name for taxon in tree.lineage("c")] == ["A", "B", "C"]


def test_what_is_no_organism_has_no_lineage():
    assert taxonomy(classes=["detritus"]).lineage("detritus") == ()


def test_the_lineage_of_an_unknown_class_is_a_key_error():
    with pytest.raises(KeyError):
        taxonomy().lineage("whale")


def test_a_missing_file_is_called_a_taxonomy_file(tmp_path):
    with pytest.raises(InputError, match="there is no taxonomy file at "):
        load_taxonomy(tmp_path / "no.yaml")


def test_a_taxonomy_without_classes_is_refused():
    assert (
        message(classes=[]) == "t.yaml: classes: tuple should have at least 1 item after validation, not 0 (found [])"
    )


def test_a_taxon_that_is_its_own_parent_is_refused():
    assert message([("A", "A")]) == "t.yaml: the taxa A -> A are parents of each other"


def test_a_taxon_that_is_its_own_grandparent_is_refused():
    assert message([("A", "B"), ("B", "A")]) == "t.yaml: the taxa A -> B -> A are parents of each other"


def test_a_ring_is_reported_once_whatever_leads_to_it():
    taxa = [("X", "A"), ("A", "B"), ("B", "C"), ("C", "A"), ("Y", "X")]
    assert message(taxa) == "t.yaml: the taxa A -> B -> C -> A are parents of each other"


def test_two_rings_are_both_reported():
    taxa = [("A", "A"), ("B", "B")]
    assert message(taxa) == (
        "t.yaml: the taxa A -> A are parents of each other; the taxa B -> B are parents of each other"
    )


def test_an_unknown_parent_is_refused_with_a_suggestion():
    assert message([("Animalia", None), ("Copepoda", "Animals")]) == (
        "t.yaml: taxon 'Copepoda': unknown parent 'Animals' (did you mean 'Animalia'?)"
    )


def test_an_unknown_taxon_is_refused():
    assert message([("Copepoda", None)], [{"name": "x", "taxon": "Copepodas"}]) == (
        "t.yaml: class 'x': unknown taxon 'Copepodas' (did you mean 'Copepoda'?)"
    )


@pytest.mark.parametrize(
    ("classes", "fault"),
    [
        (["a", "a"], "the class 'a' appears 2 times"),
        ([{"name": "a", "hotkey": "x"}, {"name": "b", "hotkey": "x"}], "the hotkey 'x' appears 2 times"),
        ([{"name": "a", "hotkey": "u"}], "class 'a': the hotkey 'u' is reserved for \"unsure\"; choose another"),
    ],
)
def test_what_must_differ_is_refused_where_it_is_equal(classes, fault):
    assert message(classes=classes) == f"t.yaml: {fault}"


def test_a_taxon_given_twice_is_refused():
    assert message([("A", None), ("A", None)]) == "t.yaml: the taxon 'A' appears 2 times"


def test_an_aphia_id_given_twice_is_refused():
    taxa = [{"name": name, "rank": "r", "aphia_id": 1080} for name in "AB"]
    assert message_of(taxa) == "t.yaml: the aphia_id '1080' appears 2 times"


def test_all_faults_of_the_tree_come_in_one_message():
    classes = [{"name": "a", "taxon": "Z", "hotkey": "1"}, {"name": "b", "hotkey": "1"}]
    assert message([("A", "A"), ("B", "Q")], classes) == (
        "t.yaml: the hotkey '1' appears 2 times; taxon 'B': unknown parent 'Q'; class 'a': unknown taxon 'Z'; "
        "the taxa A -> A are parents of each other"
    )


@pytest.mark.parametrize("name", [" a", "a ", "a\nb", "a\tb", "\u200b\x7f"])
def test_a_name_that_nobody_can_type_is_refused(name):
    assert message(classes=[name]) == (
        f"t.yaml: classes.0.name: {name!r} begins or ends with a space, or contains a control character"
    )


@pytest.mark.parametrize("name", ["Ceratium (other)", "øresund", "桡足类", "a/b", "a,b;c", "x" * 100, "a  b"])
def test_a_name_may_hold_any_printable_text(name):
    assert taxonomy(classes=[name]).names == (name,)


@pytest.mark.parametrize(
    ("field", "value", "fault"),
    [
        ("hotkey", "A", "string should match pattern '^[a-z0-9]$' (found 'A')"),
        ("hotkey", "ab", "string should match pattern '^[a-z0-9]$' (found 'ab')"),
        ("hotkey", 1, "input should be a valid string (found 1)"),
        ("color", "red", "string should match pattern '^#[0-9a-fA-F]{6}$' (found 'red')"),
        ("name", "x" * 101, f"string should have at most 100 characters (found '{'x' * 12}...{'x' * 13}')"),
        ("name", "", "string should have at least 1 character (found '')"),
    ],
)
def test_a_wrong_field_of_a_class_is_refused(field, value, fault):
    assert message(classes=[{"name": "a", field: value}]) == f"t.yaml: classes.0.{field}: {fault}"


@pytest.mark.parametrize("value", [0, -5])
def test_an_aphia_id_is_positive(value):
    assert message_of([{"name": "A", "rank": "r", "aphia_id": value}]) == (
        f"t.yaml: taxa.0.aphia_id: input should be greater than 0 (found {value})"
    )


def test_a_colour_spelled_the_british_way_is_explained():
    assert message(classes=[{"name": "a", "colour": "#ffffff"}]) == (
        "t.yaml: unknown key 'classes.0.colour' (did you mean 'color'?)"
    )


def test_a_restricted_taxonomy_keeps_order_and_taxa():
    tree = taxonomy([("A", None)], ["c", "b", "a"])
    assert tree.restricted_to(["a", "c"]).names == ("c", "a")
    assert tree.restricted_to(["a"]).taxa == tree.taxa


def test_bare_names_get_an_order_hotkeys_and_colours():
    made = taxonomy_of_names("it", ["b", "a", "b"])
    assert [(entry.name, entry.hotkey, entry.color) for entry in made.classes] == [
        ("a", "1", "#1f77b4"),
        ("b", "2", "#ff7f0e"),
    ]


def test_hotkeys_never_take_that_of_unsure_and_run_out_quietly():
    hotkeys = [entry.hotkey for entry in taxonomy_of_names("it", [f"c{index:03}" for index in range(50)]).classes]
    assert len({*hotkeys[:35]}) == 35
    assert "u" not in hotkeys
    assert hotkeys[35:] == [None] * 15


def test_a_bare_name_that_no_class_can_have_is_one_line():
    with pytest.raises(ConfigError) as caught:
        taxonomy_of_names("plankton", ["copepod", "medusa "])
    assert str(caught.value) == (
        "the class names of plankton: classes.1.name: 'medusa ' begins or ends with a space, or contains a control "
        "character"
    )


@pytest.mark.parametrize("path", sorted((PROJECT / "configs" / "taxonomy").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_taxonomy_is_whole(path):
    shipped = load_taxonomy(path)
    assert all(entry.hotkey and entry.color for entry in shipped.classes)
    assert len({entry.color for entry in shipped.classes}) == len(shipped.classes)
    assert {lineage[0].rank for name in shipped.names if (lineage := shipped.lineage(name))} == {"kingdom"}


@pytest.mark.parametrize("path", sorted((PROJECT / "configs" / "taxonomy").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_taxonomy_opens_with_the_command_that_uses_it(path):
    head = path.read_text(encoding="utf-8").split("\nname:")[0]
    assert f"--taxonomy configs/taxonomy/{path.name}" in head


def test_a_taxonomy_survives_yaml(tmp_path):
    tree = taxonomy([("A", None), ("B", "A")], [{"name": "no", "taxon": "B", "hotkey": "1"}, "yes"])
    (tmp_path / "t.yaml").write_text(dump_yaml(tree), encoding="utf-8")
    assert load_taxonomy(tmp_path / "t.yaml") == tree
