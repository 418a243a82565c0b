"""Taxonomies from the lineages that EcoTaxa exports."""

from collections import Counter

from pelagia.lineages import commonest, parse_lineage, taxonomy_of_lineages
from pelagia.taxonomy import Taxonomy


def tree(**lineages: str) -> Taxonomy:
    """The taxonomy of classes with these lineages."""
    return taxonomy_of_lineages("t", lineages, {name: parse_lineage(text) for name, text in lineages.items()})


def test_a_lineage_is_read_from_the_root_down() -> None:
    assert parse_lineage("living>Eukaryota > Copepoda") == ("living", "Eukaryota", "Copepoda")
    assert parse_lineage("") == ()


def test_classes_get_the_taxa_above_them() -> None:
    made = tree(Calanoida="living>Copepoda>Calanoida", Copepoda="living>Copepoda", other="")
    assert [(taxon.name, taxon.parent, taxon.rank) for taxon in made.taxa] == [
        ("living", None, "unranked"),
        ("Copepoda", "living", "unranked"),
        ("Calanoida", "Copepoda", "unranked"),
    ]
    assert {entry.name: entry.taxon for entry in made.classes} == {
        "Calanoida": "Calanoida",
        "Copepoda": "Copepoda",
        "other": None,
    }
    assert [(taxon.name, below) for taxon, below in made.shared_taxa()] == [
        ("Copepoda", frozenset({"Calanoida", "Copepoda"}))
    ]


def test_one_name_in_two_places_is_two_taxa_with_ecotaxas_display_names() -> None:
    made = tree(a="living>Crustacea>part", b="living>Cnidaria>part")
    assert [taxon.name for taxon in made.taxa] == [
        "living",
        "Cnidaria",
        "part<Cnidaria",
        "Crustacea",
        "part<Crustacea",
    ]
    assert made.lineage("a")[-1].name == "part<Crustacea"


def test_a_class_with_a_display_name_gives_it_to_its_taxon() -> None:
    made = taxonomy_of_lineages("t", ["part<Crustacea"], {"part<Crustacea": ("living", "Crustacea", "part")})
    assert [taxon.name for taxon in made.taxa] == ["living", "Crustacea", "part<Crustacea"]


def test_a_name_at_the_root_and_below_stays_unique() -> None:
    made = tree(a="x", b="x>x", c="y>x", d="z>y>x")
    assert len({taxon.name for taxon in made.taxa}) == len(made.taxa) == 7


def test_what_is_not_an_organism_has_no_taxon() -> None:
    made = tree(fiber="not-living>detritus>fiber", t001="temporary>t001")
    assert made.taxa == ()
    assert {entry.taxon for entry in made.classes} == {None}


def test_the_lineage_of_most_images_counts_and_a_contradiction_is_said() -> None:
    counts = {"a": Counter({("x", "a"): 1, ("y", "a"): 3}), "b": Counter({("x", "b"): 2})}
    chosen, said = commonest(counts)
    assert chosen == {"a": ("y", "a"), "b": ("x", "b")}
    assert said == [
        "the class 'a' has 2 lineages in object_annotation_hierarchy: y>a (3 images); x>a (1 images). The first is "
        "used; name another taxonomy with --taxonomy"
    ]
