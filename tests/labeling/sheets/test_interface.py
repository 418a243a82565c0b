from __future__ import annotations

import xml.etree.ElementTree as ET

from pelagia.taxonomy import LabelClass, Taxonomy
from pelagia_labeling.sheets.interface import build_sheet_interface
from pelagia_labeling.tasks.interface import parse_interface
from pelagia_labeling.tasks.sheet_crops import is_sheet_interface


def test_no_key_of_a_keyboard_chooses_a_class_and_no_style_is_cut_off() -> None:
    names = [LabelClass(name=name, hotkey=key) for name, key in (("a>b", "c"), ('say "x"', None), ("egg", "d"))]
    config = build_sheet_interface(Taxonomy(name="t", classes=tuple(names)))
    root = ET.fromstring(config)
    assert {choice.get("hotkey") for choice in root.iter("Choice")} == {"f24"}
    [style] = root.iter("Style")
    assert ">" not in (style.text or "")
    assert is_sheet_interface(config)
    assert [entry.name for entry in parse_interface(config) or ()] == ["a>b", 'say "x"', "egg"]
