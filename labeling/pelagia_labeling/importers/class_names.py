"""Names of classes that mean the same: Unicode forms are joined, other spellings are warned of, a person merges them.

Invariant: two classes of a dataset never look the same: ``é`` as one character and as ``e`` with an accent are one.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pelagia.dataset.soft_labels import SOFT_LABEL, renamed_soft_label
from pelagia.dataset.write import Candidate
from pelagia.errors import InputError, did_you_mean, first_few
from pelagia.shell import command_line
from pelagia.taxonomy import Taxonomy
from pelagia_labeling.importers.imported import Import

_SPACES = re.compile(r"[\s_-]+")


def parse_renames(options: Sequence[str]) -> dict[str, str]:
    """Old name -> new name, from texts such as ``copepoda=Copepoda``.

    Raises:
        InputError: a text has no ``=``, or one of the names is empty.
    """
    renames = {}
    for text in options:
        old, _, new = (_composed(part).strip() for part in text.partition("="))
        if not old or not new:
            raise InputError(f"--rename {text} is not of the form OLD=NEW, such as --rename copepoda=Copepoda")
        renames[old] = new
    return renames


def join_names(found: Import, renames: Mapping[str, str], taxonomy: Taxonomy | None) -> Import:
    """The images with their classes renamed and in one Unicode form, that of the taxonomy if it has the name.

    Warns of classes whose names differ only in case, spaces, hyphens or underscores, with the options that merge them.

    Raises:
        InputError: a class to rename does not occur.
    """
    taxa = found.taxonomy if taxonomy is None else taxonomy
    known = {_composed(name): name for name in taxa.names} if taxa else {}
    before = {_composed(entry.class_name) for entry in found.candidates}
    for old in renames:
        if old not in before:
            guess = did_you_mean(old, before)
            raise InputError(f"--rename: there is no class '{old}'{guess}; there are: {first_few(sorted(before))}")

    def new_name(class_name: str) -> str:
        name = renames.get(_composed(class_name), _composed(class_name))
        return known.get(name, name)

    def renamed(entry: Candidate) -> Candidate:
        name, soft = new_name(entry.class_name), entry.extra.get(SOFT_LABEL, "")
        extra = entry.extra | {SOFT_LABEL: renamed_soft_label(soft, name, new_name)} if soft else entry.extra
        return replace(entry, class_name=name, extra=extra)

    candidates = [renamed(entry) for entry in found.candidates]
    lineages = {renames.get(_composed(name), _composed(name)): taxa for name, taxa in found.lineages.items()}
    spellings = _spellings(Counter(entry.class_name for entry in candidates))
    agreement = None if renames else found.label_agreement  # it is of the classes as people saw them
    warnings = (*found.warnings, *spellings)
    return replace(found, candidates=candidates, lineages=lineages, warnings=warnings, label_agreement=agreement)


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _spellings(counts: Counter[str]) -> list[str]:
    alike: dict[str, list[str]] = defaultdict(list)
    for name in sorted(counts):
        alike[_SPACES.sub("", name).casefold()].append(name)
    return [_spelling(names, counts) for names in alike.values() if len(names) > 1]


def _spelling(names: Sequence[str], counts: Counter[str]) -> str:
    kept = max(names, key=lambda name: (counts[name], name.istitle()))
    options = " ".join(f"--rename {command_line(f'{name}={kept}')}" for name in names if name != kept)
    listed = ", ".join(f"'{name}' ({counts[name]} images)" for name in names)
    return f"the classes {listed} differ only in case, spaces or signs; to merge them, import again with {options}"
