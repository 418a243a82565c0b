"""A taxonomy from lineages: for each class, the names above it, from the root down, as EcoTaxa exports them.

Invariant: a name that is in two places of the tree is two taxa, named as EcoTaxa displays them: ``part<Crustacea`` is
the ``part`` below ``Crustacea``.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from pelagia.taxonomy import LabelClass, Taxon, Taxonomy, taxonomy_of_names

Lineage = tuple[str, ...]

UNRANKED = "unranked"
"""The rank of every taxon: EcoTaxa's exports have no ranks."""

NO_ORGANISM = frozenset({"not-living", "temporary"})
"""Roots of EcoTaxa's tree that are not organisms; their classes have no taxon."""


def parse_lineage(text: str) -> Lineage:
    """The names of a lineage such as ``living>Eukaryota>Copepoda``, from the root down; empty if there is none."""
    return tuple(name for part in text.split(">") if (name := part.strip()))


def commonest(lineages: Mapping[str, Counter[Lineage]]) -> tuple[dict[str, Lineage], list[str]]:
    """For each class, the lineage that most of its images have; and a sentence for each class that has several."""
    chosen, said = {}, []
    for name, counts in sorted(lineages.items()):
        ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        chosen[name] = ordered[0][0]
        if len(ordered) > 1:
            listed = "; ".join(f"{'>'.join(lineage)} ({count} images)" for lineage, count in ordered)
            said.append(
                f"the class '{name}' has {len(ordered)} lineages in object_annotation_hierarchy: {listed}. The first "
                "is used; name another taxonomy with --taxonomy"
            )
    return chosen, said


def taxonomy_of_lineages(name: str, class_names: Iterable[str], lineages: Mapping[str, Lineage]) -> Taxonomy:
    """The taxonomy of `taxonomy_of_names`, with the taxa of the classes.

    Args:
        name: the name of the taxonomy.
        class_names: its classes.
        lineages: for each class, the names from the root down to its own; a class without one has no taxon.

    Raises:
        ConfigError: one of the names is not allowed for a class.
    """
    plain = taxonomy_of_names(name, class_names)
    living = {
        entry.name: lineage
        for entry in plain.classes
        if (lineage := lineages.get(entry.name, ())) and lineage[0].lower() not in NO_ORGANISM
    }
    names = _names_of(living)
    taxa = tuple(
        Taxon(name=names[path], rank=UNRANKED, parent=names.get(path[:-1]) if len(path) > 1 else None)
        for path in sorted(names)
    )
    classes = tuple(_with_taxon(entry, names.get(living.get(entry.name, ()))) for entry in plain.classes)
    return Taxonomy(name=plain.name, taxa=taxa, classes=classes)


def _with_taxon(entry: LabelClass, taxon: str | None) -> LabelClass:
    return entry.model_copy(update={"taxon": taxon})


def _names_of(lineages: Mapping[str, Lineage]) -> dict[Lineage, str]:
    """A unique name for each taxon, by its lineage: the last name, and those above it where it is needed."""
    paths = {lineage[:depth] for lineage in lineages.values() for depth in range(1, len(lineage) + 1)}
    names: dict[Lineage, str] = {}
    pending = [(path, 1) for path in sorted(paths)]
    while pending:
        by_name: dict[str, list[tuple[Lineage, int]]] = defaultdict(list)
        for path, parts in pending:
            by_name["<".join(path[-parts:][::-1])].append((path, parts))
        pending = []
        for text, same in by_name.items():
            if len(same) == 1:
                names[same[0][0]] = text
            else:
                pending += [(path, parts + 1) for path, parts in same if parts < len(path)]
                names |= {path: text for path, parts in same if parts >= len(path)}
    taken = set(names.values())
    for class_name, lineage in lineages.items():  # EcoTaxa's display name of the class itself, such as part<Crustacea
        if class_name.startswith(f"{lineage[-1]}<") and class_name not in taken:
            names[lineage] = class_name
    return names
