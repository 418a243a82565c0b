"""Compares the taxa of a taxonomy with WoRMS, and proposes AphiaIDs and accepted names.

Invariant: a proposal is made only if WoRMS leaves no choice. Nothing is changed here but by `with_proposals`, which
returns a new taxonomy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pelagia.errors import first_few
from pelagia.lineages import UNRANKED
from pelagia.taxonomy import Taxon, Taxonomy
from pelagia.worms.register import NotAnswered, Record, Register

RIGHT, TO_CHANGE, TO_DECIDE, NOT_CHECKED = "right", "to change", "to decide", "not checked"


@dataclass(frozen=True)
class Finding:
    """What WoRMS says about a taxon.

    Attributes:
        taxon: the taxon of the taxonomy.
        kind: `RIGHT`, `TO_CHANGE` (there is a proposal), `TO_DECIDE` (a person has to look), or `NOT_CHECKED`.
        text: what was found, and what to do.
        proposal: the taxon as WoRMS has it, with the same parent; None if there is none.
    """

    taxon: Taxon
    kind: str
    text: str
    proposal: Taxon | None = None


def check_taxa(
    taxonomy: Taxonomy, register: Register, progress: Callable[[int, int], None] = lambda done, total: None
) -> list[Finding]:
    """Compares each taxon with WoRMS.

    If WoRMS cannot be reached, the taxa without a kept answer are `NOT_CHECKED`.
    """
    findings = []
    for done, taxon in enumerate(taxonomy.taxa):
        progress(done, len(taxonomy.taxa))
        try:
            findings.append(_check(taxon, _above(taxonomy, taxon), register))
        except NotAnswered as error:
            findings.append(Finding(taxon, NOT_CHECKED, str(error)))
    return _without_collisions(findings)


def _above(taxonomy: Taxonomy, taxon: Taxon) -> set[str]:
    parents = {one.name: one.parent for one in taxonomy.taxa}
    found, node = set(), taxon.parent
    while node is not None:
        found.add(node)
        node = parents[node]
    return found


def _check(taxon: Taxon, above: set[str], register: Register) -> Finding:
    if taxon.aphia_id is None:
        return _by_name(taxon, above, register)
    record = register.by_id(taxon.aphia_id)
    if record is None:
        return Finding(taxon, TO_DECIDE, f"WoRMS has no AphiaID {taxon.aphia_id}: correct or remove it")
    if record.name != taxon.name:
        text = f"AphiaID {taxon.aphia_id} is '{record.name}' in WoRMS: correct the name or the AphiaID"
        return Finding(taxon, TO_DECIDE, text)
    return _of_record(taxon, record, register)


def _by_name(taxon: Taxon, above: set[str], register: Register) -> Finding:
    records = register.by_name(taxon.name)
    exact = [record for record in records if record.exact and record.name == taxon.name]
    if not records:
        return Finding(taxon, TO_DECIDE, "WoRMS has no such name: correct it, or leave it if it is not scientific")
    if not exact:
        similar = first_few(_described(record) for record in records)
        return Finding(taxon, TO_DECIDE, f"WoRMS has no such name; similar: {similar}")
    fitting = [record for record in exact if record.above & above] or exact
    if len(fitting) > 1:
        several = first_few(_described(record) for record in fitting)
        return Finding(taxon, TO_DECIDE, f"several taxa of WoRMS have the name: {several}: give the AphiaID")
    return _of_record(taxon, fitting[0], register)


def _of_record(taxon: Taxon, record: Record, register: Register) -> Finding:
    """What to change in a taxon whose record is known."""
    said, rank = [], record.rank
    name, aphia_id = record.name, record.aphia_id
    if record.status != "accepted" and record.accepted_id is None:
        return Finding(taxon, TO_DECIDE, f"its status in WoRMS is '{record.status}', and WoRMS names no accepted taxon")
    if record.accepted_id is not None and record.accepted_id != record.aphia_id:
        said.append(f"WoRMS accepts '{record.accepted_name}' (AphiaID {record.accepted_id}) instead")
        name, aphia_id = record.accepted_name, record.accepted_id
        accepted = register.by_id(aphia_id)
        rank = accepted.rank if accepted else rank
    elif taxon.aphia_id is None:
        said.append(f"its AphiaID is {aphia_id}")
    if rank and rank != taxon.rank.lower():
        said.append(f"its rank is {rank}" + ("" if taxon.rank == UNRANKED else f", not {taxon.rank}"))
    changed = Taxon(name=name, rank=rank or taxon.rank, parent=taxon.parent, aphia_id=aphia_id)
    if not said:
        return Finding(taxon, RIGHT, "")
    return Finding(taxon, TO_CHANGE, "; ".join(said), changed)


def _described(record: Record) -> str:
    return f"{record.name} {record.authority}".strip() + f" ({record.rank}, AphiaID {record.aphia_id})"


def _without_collisions(findings: Sequence[Finding]) -> list[Finding]:
    """Withdraws proposals that would give two taxa the same name or AphiaID."""
    after = [one.proposal or one.taxon for one in findings]
    names, ids = [one.name for one in after], [one.aphia_id for one in after]
    checked = []
    for one in findings:
        changed = one.proposal
        if changed is not None and (names.count(changed.name) > 1 or ids.count(changed.aphia_id) > 1):
            checked.append(Finding(one.taxon, TO_DECIDE, f"{one.text}, as another taxon of the taxonomy: join them"))
        else:
            checked.append(one)
    return checked


def with_proposals(taxonomy: Taxonomy, findings: Iterable[Finding]) -> Taxonomy:
    """The taxonomy with all proposals; parents and classes follow the new names. Class names stay as they are."""
    changed = {one.taxon.name: one.proposal for one in findings if one.proposal is not None}

    def renamed(name: str | None) -> str | None:
        return changed[name].name if name in changed else name

    taxa = [changed.get(taxon.name, taxon) for taxon in taxonomy.taxa]
    return Taxonomy(
        name=taxonomy.name,
        taxa=tuple(taxon.model_copy(update={"parent": renamed(taxon.parent)}) for taxon in taxa),
        classes=tuple(one.model_copy(update={"taxon": renamed(one.taxon)}) for one in taxonomy.classes),
    )
