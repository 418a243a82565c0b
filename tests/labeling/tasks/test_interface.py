from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from pelagia.errors import StudioError
from pelagia.taxonomy import UNSURE_HOTKEY, LabelClass, Taxonomy
from pelagia_labeling.tasks.interface import build_interface, parse_interface, read_result, reconcile, taxonomy_of

OTHER_INTERFACE = (
    '<View><Text name="text" value="$text"/><Choices name="mood" toName="text"><Choice value="x"/></Choices></View>'
)


def named(*names: str) -> Taxonomy:
    return Taxonomy(name="t", classes=tuple(LabelClass(name=name) for name in names))


def test_the_stored_value_is_the_class_name_and_the_shown_one_its_title(taxonomy: Taxonomy) -> None:
    first = next(ET.fromstring(build_interface(taxonomy)).iter("Choice"))
    assert (first.get("value"), first.get("alias"), first.get("hotkey")) == ("Copepod & nauplius", "copepod", "c")


def test_unsure_is_a_separate_box_with_its_hotkey(taxonomy: Taxonomy) -> None:
    groups = {node.get("name"): node for node in ET.fromstring(build_interface(taxonomy)).iter("Choices")}
    assert [choice.get("hotkey") for choice in groups["unsure"]] == [UNSURE_HOTKEY]
    assert groups["unsure"].get("choice") == "multiple"


def test_many_classes_have_a_search_box_and_only_the_keys_of_the_taxonomy() -> None:
    classes = tuple(LabelClass(name=f"class {index}", hotkey="c" if index == 7 else None) for index in range(60))
    root = ET.fromstring(build_interface(Taxonomy(name="t", classes=classes)))
    below_the_image = [node.get("name") for node in root.iter() if node.tag in ("Choices", "Filter")]
    assert below_the_image == ["unsure", "search", "class"]
    keys = [choice.get("hotkey") for choice in root.iter("Choice") if choice.get("alias") != "unsure"]
    assert keys == ["f24"] * 7 + ["c"] + ["f24"] * 52
    parsed = parse_interface(build_interface(Taxonomy(name="t", classes=classes)))
    assert parsed is not None
    assert [entry.hotkey for entry in parsed if entry.hotkey] == ["c"]
    assert ">" not in str(root.findtext("Style"))  # Label Studio ignores such rules


def test_an_interface_parses_back_to_its_classes(taxonomy: Taxonomy) -> None:
    parsed = parse_interface(build_interface(taxonomy))
    assert parsed is not None
    assert [(entry.name, entry.title, entry.hotkey) for entry in parsed] == [
        (entry.name, entry.title, entry.hotkey) for entry in taxonomy.classes
    ]


def test_names_that_are_markup_survive() -> None:
    names = ["<b>\"x\" & 'y'</b>", "Größe > 5 µm", "a;b", "$image"]
    parsed = parse_interface(build_interface(named(*names)))
    assert parsed is not None
    assert [entry.name for entry in parsed] == names


def test_two_classes_with_the_same_title_are_shown_by_their_names() -> None:
    same_title = Taxonomy(name="t", classes=(LabelClass(name="a", title="Egg"), LabelClass(name="b", title="Egg")))
    values = [node.get("value") for node in ET.fromstring(build_interface(same_title)).iter("Choice")]
    assert values[:2] == ["a", "b"]


@pytest.mark.parametrize("config", ["", "not xml", "<View/>", OTHER_INTERFACE])
def test_an_interface_that_pelagia_did_not_make_is_recognized(config: str) -> None:
    assert parse_interface(config) is None


def test_an_unchanged_taxonomy_changes_nothing(taxonomy: Taxonomy) -> None:
    assert not reconcile(build_interface(taxonomy), taxonomy, used=True, title="p").update


def test_classes_may_be_added_to_a_project_with_labels() -> None:
    change = reconcile(build_interface(named("a")), named("a", "b"), used=True, title="p")
    assert change.update
    assert 'value="b"' in change.config


def test_a_changed_interface_is_described() -> None:
    assert reconcile(build_interface(named("a")), named("a"), used=True, title="p").how == ""
    assert reconcile(build_interface(named("a", "c")), named("a", "b"), used=False, title="p").how == (
        "classes added: b; classes removed: c"
    )
    with_key = Taxonomy(name="t", classes=(LabelClass(name="a", hotkey="x"),))
    assert (
        reconcile(build_interface(named("a")), with_key, used=True, title="p").how == "title, key or color changed: a"
    )
    moved = build_interface(named("a")).replace("<Style", "<Header value='Look twice'/><Style", 1)
    assert reconcile(moved, named("a"), used=True, title="p").how == "the arrangement of the page"


def test_a_class_cannot_be_removed_from_a_project_with_labels() -> None:
    with pytest.raises(StudioError) as caught:
        reconcile(build_interface(named("a", "b", "c")), named("a"), used=True, title="Cruise 1")
    assert str(caught.value) == (
        "the project 'Cruise 1' has labels, and the taxonomy 't' lacks classes that the project's interface has: b, c; "
        "add them to the taxonomy, or choose another project name"
    )


def test_another_interface_is_replaced_only_while_there_are_no_labels() -> None:
    assert reconcile(OTHER_INTERFACE, named("a"), used=False, title="p").update
    with pytest.raises(StudioError, match="another labeling interface"):
        reconcile(OTHER_INTERFACE, named("a"), used=True, title="p")


def test_classes_added_in_label_studio_join_the_stored_taxonomy(taxonomy: Taxonomy) -> None:
    added = LabelClass(name="egg", hotkey="c")
    joined = taxonomy_of([*taxonomy.classes, added], taxonomy, "p")
    assert joined.names == ("copepod", "medusa", "detritus", "egg")
    assert joined.taxa == taxonomy.taxa
    assert joined.classes[-1].hotkey is None  # the copepod has c


def test_without_a_stored_taxonomy_the_interface_is_the_taxonomy() -> None:
    assert taxonomy_of([LabelClass(name="b"), LabelClass(name="a")], None, "p").names == ("b", "a")


def test_results_that_people_edited_by_hand_do_not_break_the_reader() -> None:
    assert read_result(None) == ("", False)
    assert read_result(
        [{"from_name": "class", "value": {}}, "x", {"from_name": "other", "value": {"text": ["x"]}}]
    ) == (
        "",
        False,
    )
    assert read_result([{"from_name": "class", "value": {"choices": [["top", "leaf"]]}}]) == ("leaf", False)
