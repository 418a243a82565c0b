"""The taxonomy: the classes that a model can predict, and the taxa that they belong to.

Invariant: one YAML document describes both what biologists click (classes, hotkeys, colors) and what is published
(taxa, ranks, AphiaIDs of the World Register of Marine Species, WoRMS). One message lists all its faults. Each dataset
and each model has a copy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from pydantic import Field, field_validator, model_validator

from pelagia.config import Strict, load_config, validate
from pelagia.errors import did_you_mean
from pelagia.system.paths import StrPath

UNSURE_HOTKEY = "u"
"""The key of the "unsure" box in the labeling interface; no class may use it."""

# fmt: off
_PALETTE = (
    "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#17becf", "#bcbd22", "#7f7f7f",
    "#393b79", "#637939", "#8c6d31", "#843c39", "#7b4173", "#3182bd", "#e6550d", "#31a354", "#756bb1", "#636363",
)
# fmt: on


class Taxon(Strict):
    """A taxon of the tree. ``parent`` names another taxon; null at a root."""

    name: str = Field(min_length=1)
    rank: str = Field(min_length=1, description="taxonRank as in Darwin Core, such as 'order'")
    parent: str | None = None
    aphia_id: int | None = Field(default=None, gt=0, description="WoRMS AphiaID")


class LabelClass(Strict):
    """A class that the model can predict. ``taxon`` is null if the class is not an organism."""

    name: str = Field(min_length=1, max_length=100)
    title: str | None = Field(default=None, description="what people read; the name by default")
    taxon: str | None = None
    hotkey: str | None = Field(default=None, pattern=r"^[a-z0-9]$", description="one lower-case letter or digit")
    color: str | None = Field(default=None, pattern=r"^#[0-9a-fA-F]{6}$")

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str) -> str:
        if name != name.strip() or not name.isprintable():
            raise ValueError(f"{name!r} begins or ends with a space, or contains a control character")
        return name


class Taxonomy(Strict):
    """Classes in the order of the model's outputs, and the taxa above them."""

    name: str = Field(min_length=1)
    taxa: tuple[Taxon, ...] = ()
    classes: tuple[LabelClass, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _whole(self) -> Taxonomy:
        faults = [*self._duplicates(), *self._unknown_names(), *self._cycles()]
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def _duplicates(self) -> Iterator[str]:
        for what, values in (
            ("taxon", [taxon.name for taxon in self.taxa]),
            ("class", [entry.name for entry in self.classes]),
            ("hotkey", [entry.hotkey for entry in self.classes if entry.hotkey]),
            ("aphia_id", [taxon.aphia_id for taxon in self.taxa if taxon.aphia_id]),
        ):
            for value, count in Counter(values).items():
                if count > 1:
                    yield f"the {what} '{value}' appears {count} times"
        for entry in self.classes:
            if entry.hotkey == UNSURE_HOTKEY:
                yield f"class '{entry.name}': the hotkey '{UNSURE_HOTKEY}' is reserved for \"unsure\"; choose another"

    def _unknown_names(self) -> Iterator[str]:
        known = {taxon.name for taxon in self.taxa}
        for taxon in self.taxa:
            if taxon.parent is not None and taxon.parent not in known:
                yield f"taxon '{taxon.name}': unknown parent '{taxon.parent}'{did_you_mean(taxon.parent, known)}"
        for entry in self.classes:
            if entry.taxon is not None and entry.taxon not in known:
                yield f"class '{entry.name}': unknown taxon '{entry.taxon}'{did_you_mean(entry.taxon, known)}"

    def _cycles(self) -> Iterator[str]:
        parents = {taxon.name: taxon.parent for taxon in self.taxa}
        reported: set[str] = set()
        for start in parents:
            path: list[str] = []
            node: str | None = start
            while node in parents and node not in path and node not in reported:
                path.append(node)
                node = parents[node]
            if node in path:
                ring = path[path.index(node) :]
                reported.update(ring)
                yield f"the taxa {' -> '.join([*ring, ring[0]])} are parents of each other"

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in the order of the model's outputs."""
        return tuple(entry.name for entry in self.classes)

    def lineage(self, class_name: str) -> tuple[Taxon, ...]:
        """The taxa of a class from the root down; empty if it has no taxon.

        Raises:
            KeyError: there is no such class.
        """
        by_name = {taxon.name: taxon for taxon in self.taxa}
        node = {entry.name: entry.taxon for entry in self.classes}[class_name]
        path: list[Taxon] = []
        while node is not None:
            path.append(by_name[node])
            node = by_name[node].parent
        return tuple(reversed(path))

    def shared_taxa(self) -> tuple[tuple[Taxon, frozenset[str]], ...]:
        """Taxa that two or more classes share, each with its classes; the deepest taxa come first.

        If several taxa have the same classes, only the deepest one is returned.
        """
        lineages = {name: self.lineage(name) for name in self.names}
        found: dict[frozenset[str], tuple[int, Taxon]] = {}
        for lineage in lineages.values():
            for depth, taxon in enumerate(lineage):
                below = frozenset(name for name, path in lineages.items() if taxon in path)
                if len(below) > 1 and (below not in found or found[below][0] < depth):
                    found[below] = (depth, taxon)
        ordered = sorted(found.items(), key=lambda item: (-item[1][0], item[1][1].name))
        return tuple((taxon, below) for below, (_, taxon) in ordered)

    def restricted_to(self, class_names: Iterable[str]) -> Taxonomy:
        """The same taxonomy with only these classes, in the same order and with all taxa."""
        wanted = set(class_names)
        return self.model_copy(update={"classes": tuple(entry for entry in self.classes if entry.name in wanted)})


def load_taxonomy(path: StrPath) -> Taxonomy:
    """Reads and validates a taxonomy file, or the taxonomy in a dataset's `dataset.yaml`.

    Raises:
        ConfigError: the file is wrong; the message lists all its faults.
    """
    return load_config(path, Taxonomy, within="taxonomy", what="taxonomy file")


def taxonomy_of_names(name: str, class_names: Iterable[str]) -> Taxonomy:
    """A taxonomy without taxa, for data that has only class names: sorted, with hotkeys and colors.

    Raises:
        ConfigError: one of the names is not allowed for a class.
    """
    free = [key for key in "1234567890abcdefghijklmnopqrstvwxyz" if key != UNSURE_HOTKEY]
    entries = []
    for index, class_name in enumerate(sorted(set(class_names))):
        hotkey = free[index] if index < len(free) else None
        entries.append({"name": class_name, "hotkey": hotkey, "color": _PALETTE[index % len(_PALETTE)]})
    return validate({"name": name, "classes": entries}, Taxonomy, f"the class names of {name}")
