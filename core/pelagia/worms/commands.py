"""`pelagia taxonomy`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pelagia.options import Out
from pelagia.system import console

if TYPE_CHECKING:
    from pelagia.taxonomy import Taxonomy
    from pelagia.worms.check import Finding

_PROBLEM = 9


def taxonomy_check(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A taxonomy file, the dataset.yaml of a dataset, or a model (.onnx)."),
    ],
    worms: Annotated[
        bool, typer.Option("--worms", help="Also compare each taxon with WoRMS. Needs a network; answers are kept.")
    ] = False,
    write: Annotated[
        Path | None, typer.Option(metavar="OUT", help="Write a taxonomy with everything that --worms proposes.")
    ] = None,
) -> None:
    """Check a taxonomy: its form, and with --worms its names and AphiaIDs.

    Nothing is changed; --write makes a new file. Exits with code 9 if something is to change, to decide, or was not
    checked.

    \b
    pelagia taxonomy check configs/taxonomy/sample.yaml
    pelagia taxonomy check taxonomy.yaml --worms
    pelagia taxonomy check taxonomy.yaml --worms --write checked.yaml
    """
    from pelagia.errors import InputError
    from pelagia.system.files import refuse_existing_file

    if write is not None:
        if not worms:
            raise InputError("--write writes what --worms proposes: add --worms")
        refuse_existing_file(write, "taxonomy", "taxonomy.yaml")
    taxonomy = _taxonomy_in(file)
    without = sum(taxon.aphia_id is None for taxon in taxonomy.taxa)
    organisms = sum(one.taxon is not None for one in taxonomy.classes)
    console.say(
        f"{file}: {len(taxonomy.classes)} classes, {organisms} of them organisms; {len(taxonomy.taxa)} taxa, {without} "
        "without an AphiaID"
    )
    if worms and not _compare(taxonomy, write):
        raise typer.Exit(_PROBLEM)


def _compare(taxonomy: Taxonomy, write: Path | None) -> bool:
    """Compares a taxonomy with WoRMS, prints and writes the result, and returns whether all taxa are right."""
    from pelagia.config import dump_yaml
    from pelagia.system.files import write_text
    from pelagia.worms.check import RIGHT, TO_CHANGE, check_taxa, with_proposals
    from pelagia.worms.register import Register

    register = Register()
    with console.progress_bar("asking WoRMS") as update:
        findings = check_taxa(taxonomy, register, update)
    register.keep()
    counts = _show(findings)
    if register.oldest:
        console.say(f"answers of WoRMS that were kept were used, the oldest of {register.oldest}")
    if write is not None:
        write_text(write, dump_yaml(with_proposals(taxonomy, findings)))
        console.say(f"{counts[TO_CHANGE]} taxa changed: {write}")
    return not set(counts) - {RIGHT}


def _show(findings: Sequence[Finding]) -> Counter[str]:
    """Prints what WoRMS says, and returns the number of taxa of each kind."""
    from pelagia.errors import first_few
    from pelagia.worms.check import NOT_CHECKED, RIGHT

    rows = [(one.taxon.name, one.kind, one.text) for one in findings if one.kind not in (RIGHT, NOT_CHECKED)]
    if rows:
        console.table(("taxon", "result", "WoRMS"), rows)
    counts = Counter(one.kind for one in findings)
    console.say(", ".join(f"{count} {kind}" for kind, count in counts.items()) or "there are no taxa to check")
    without: dict[str, list[str]] = {}
    for one in findings:
        if one.kind == NOT_CHECKED:
            without.setdefault(one.text, []).append(one.taxon.name)
    for text, names in without.items():
        console.note(
            f"warning: {text}, so {len(names)} taxa were not checked ({first_few(names)}): run the same command again "
            "with a network; answers that came are kept"
        )
    return counts


def taxonomy_from(
    table: Annotated[
        Path, typer.Argument(metavar="TABLE", help="CSV, TSV, Excel or Parquet, with a row for each class.")
    ],
    out: Out,
) -> None:
    """Make a taxonomy file from a table of classes.

    The table needs the columns class and scientificName, and may have taxonRank, parent or lineage (such as
    "Animalia > Arthropoda > Copepoda"), and aphia_id. A class without a scientific name is not an organism. A row
    without a class describes a taxon above the others.

    \b
    pelagia taxonomy from classes.csv --out taxonomy.yaml
    """
    from pelagia.config import dump_yaml
    from pelagia.system.files import refuse_existing_file, write_text
    from pelagia.worms.table import taxonomy_of_table

    refuse_existing_file(out, "taxonomy", "taxonomy.yaml")
    taxonomy = taxonomy_of_table(table, lambda text: console.note(f"warning: {text}"))
    write_text(out, dump_yaml(taxonomy))
    none = [one.name for one in taxonomy.classes if one.taxon is None]
    console.say(f"{len(taxonomy.classes)} classes, {len(taxonomy.taxa)} taxa: {out}")
    if none:
        console.say(f"not organisms: {', '.join(none)}")
    console.say_next("pelagia", "taxonomy", "check", out, "--worms")


def _taxonomy_in(file: Path) -> Taxonomy:
    from pelagia.model.metadata import ModelFile
    from pelagia.taxonomy import load_taxonomy

    return ModelFile.read(file).metadata.taxonomy if file.suffix.lower() == ".onnx" else load_taxonomy(file)
