"""`pelagia taxonomy`: a taxonomy from a table, and its comparison with answers as WoRMS gives them.

The answers are synthetic: they have the form that the REST service of WoRMS documents, and were not recorded from it.
Names, AphiaIDs and statuses in them are examples for the tests, not facts.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlparse

import pytest

from cli_fixtures import Pelagia
from pelagia.config import validate
from pelagia.errors import ConfigError, InputError
from pelagia.taxonomy import Taxonomy, load_taxonomy
from pelagia.worms import register as worms
from pelagia.worms.check import NOT_CHECKED, RIGHT, TO_CHANGE, TO_DECIDE, Finding, check_taxa, with_proposals
from pelagia.worms.register import Register
from pelagia.worms.table import taxonomy_of_table
from taxonomy_fixtures import TREE


def record(aphia_id: int, name: str, rank: str, **changes: Any) -> dict[str, Any]:
    """A synthetic answer in the form of an AphiaRecord."""
    answer = {
        "AphiaID": aphia_id,
        "url": f"https://www.marinespecies.org/aphia.php?p=taxdetails&id={aphia_id}",
        "scientificname": name,
        "authority": "Author, 1900",
        "status": "accepted",
        "unacceptreason": None,
        "taxonRankID": 0,
        "rank": rank,
        "valid_AphiaID": aphia_id,
        "valid_name": name,
        "valid_authority": "Author, 1900",
        "parentNameUsageID": 2,
        "kingdom": "Animalia",
        "phylum": "Arthropoda",
        "class": None,
        "order": None,
        "family": None,
        "genus": None,
        "lsid": f"urn:lsid:marinespecies.org:taxname:{aphia_id}",
        "isMarine": 1,
        "match_type": "exact",
        "modified": "2020-01-01T00:00:00.000Z",
    }
    return answer | changes


RECORDS = [
    record(2, "Animalia", "Kingdom", phylum=None),
    record(11, "Arthropoda", "Phylum"),
    record(12, "Copepoda", "Subclass"),
    record(13, "Oldname", "Genus", status="unaccepted", valid_AphiaID=14, valid_name="Newname"),
    record(14, "Newname", "Genus"),
    record(15, "Homonymus", "Genus", kingdom="Plantae", phylum="Ochrophyta"),
    record(16, "Homonymus", "Genus"),
    record(17, "Twice", "Genus"),
    record(18, "Twice", "Genus"),
    record(19, "Calanus", "Genus"),
]


class Answers(BaseHTTPRequestHandler):
    """A server that answers as WoRMS documents."""

    asked: ClassVar[list[str]] = []
    broken: ClassVar[str] = ""

    def do_GET(self) -> None:
        self.asked.append(self.path)
        url = urlparse(self.path)
        kind, _, rest = url.path.lstrip("/").partition("/")
        if self.broken:
            self._send(200, self.broken)
        elif kind == "AphiaRecordByAphiaID":
            found = [one for one in RECORDS if one["AphiaID"] == int(rest)]
            self._send(200 if found else 204, json.dumps(found[0]) if found else "")
        elif kind == "AphiaRecordsByMatchNames":
            name = parse_qs(unquote(url.query))["scientificnames[]"][0]
            exact = [one for one in RECORDS if one["scientificname"] == name]
            near = [one | {"match_type": "near_1"} for one in RECORDS if one["scientificname"][:-1] == name[:-1]]
            found = exact or near
            self._send(500 if name == "Broken" else 200 if found else 204, json.dumps([found]) if found else "")

    def _send(self, status: int, body: str) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Answers]]:
    running = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    monkeypatch.setattr(worms, "ADDRESS", f"http://127.0.0.1:{running.server_port}/")
    monkeypatch.setattr(Answers, "asked", [])
    yield Answers
    running.shutdown()
    running.server_close()


def taxonomy_of(*taxa: dict[str, Any]) -> Taxonomy:
    last = taxa[-1]["name"]
    return validate({"name": "t", "taxa": taxa, "classes": [{"name": "c", "taxon": last}]}, Taxonomy, "t")


def finding(tmp_path: Path, *taxa: dict[str, Any]) -> Finding:
    """What is found for the last taxon."""
    return check_taxa(taxonomy_of(*taxa), Register(tmp_path / "worms.json"))[-1]


@pytest.mark.parametrize(
    ("taxon", "kind", "text"),
    [
        ({"name": "Arthropoda", "rank": "phylum", "aphia_id": 11}, RIGHT, ""),
        ({"name": "Arthropoda", "rank": "phylum"}, TO_CHANGE, "its AphiaID is 11"),
        ({"name": "Copepoda", "rank": "class", "aphia_id": 12}, TO_CHANGE, "its rank is subclass, not class"),
        ({"name": "Oldname", "rank": "genus"}, TO_CHANGE, "WoRMS accepts 'Newname' (AphiaID 14) instead"),
        ({"name": "Arthropoda", "rank": "phylum", "aphia_id": 12}, TO_DECIDE, "AphiaID 12 is 'Copepoda' in WoRMS"),
        ({"name": "Arthropoda", "rank": "phylum", "aphia_id": 99}, TO_DECIDE, "WoRMS has no AphiaID 99"),
        ({"name": "Copepodo", "rank": "class"}, TO_DECIDE, "similar: Copepoda Author, 1900 (subclass, AphiaID 12)"),
        ({"name": "Nothing<at all", "rank": "unranked"}, TO_DECIDE, "WoRMS has no such name"),
        ({"name": "Twice", "rank": "genus"}, TO_DECIDE, "several taxa of WoRMS have the name: Twice"),
        ({"name": "Broken", "rank": "genus"}, NOT_CHECKED, "WoRMS answered with the error 500"),
    ],
)
def test_each_taxon_is_compared_with_worms(
    server: type[Answers], tmp_path: Path, taxon: dict[str, Any], kind: str, text: str
) -> None:
    found = finding(tmp_path, taxon)
    assert (found.kind, text in found.text) == (kind, True), found.text
    assert (found.proposal is None) == (kind != TO_CHANGE)


def test_of_two_taxa_with_one_name_the_one_below_the_same_taxa_is_meant(server: type[Answers], tmp_path: Path) -> None:
    above = {"name": "Arthropoda", "rank": "phylum", "aphia_id": 11}
    found = finding(tmp_path, above, {"name": "Homonymus", "rank": "genus", "parent": "Arthropoda"})
    assert found.proposal is not None
    assert found.proposal.aphia_id == 16


def test_a_proposal_that_another_taxon_has_already_is_for_a_person_to_decide(
    server: type[Answers], tmp_path: Path
) -> None:
    found = finding(
        tmp_path, {"name": "Newname", "rank": "genus", "aphia_id": 14}, {"name": "Oldname", "rank": "genus"}
    )
    assert (found.kind, found.proposal) == (TO_DECIDE, None)
    assert "join them" in found.text


def test_a_new_taxonomy_has_the_proposals_and_its_classes_and_parents_follow(
    server: type[Answers], tmp_path: Path
) -> None:
    old = taxonomy_of({"name": "Oldname", "rank": "genus"}, {"name": "Nothing", "rank": "species", "parent": "Oldname"})
    new = with_proposals(old, check_taxa(old, Register(tmp_path / "worms.json")))
    assert [(taxon.name, taxon.parent, taxon.aphia_id) for taxon in new.taxa] == [
        ("Newname", None, 14),
        ("Nothing", "Newname", None),
    ]
    assert old.taxa[0].name == "Oldname"
    assert new.names == old.names


def test_answers_are_kept_and_used_without_a_network(
    server: type[Answers], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Register(tmp_path / "worms.json")
    expected = check_taxa(TREE, first)
    first.keep()
    asked = len(server.asked)
    again = Register(tmp_path / "worms.json")
    assert check_taxa(TREE, again) == expected
    assert len(server.asked) == asked
    assert again.oldest
    monkeypatch.setattr(worms, "KEPT_DAYS", -1)  # the answers are too old, and WoRMS is not there
    monkeypatch.setattr(worms, "ADDRESS", "http://127.0.0.1:9/")
    assert check_taxa(TREE, Register(tmp_path / "worms.json")) == expected


def test_without_a_network_nothing_is_checked_and_one_question_is_sent(tmp_path: Path) -> None:
    asked = []

    def ask(question: str) -> Any:
        asked.append(question)
        raise worms.NotReached("WoRMS cannot be reached (no network)")

    found = check_taxa(TREE, Register(tmp_path / "worms.json", ask))
    assert {one.kind for one in found} == {NOT_CHECKED}
    assert len(asked) == 1


def test_a_login_page_and_a_damaged_cache_are_no_answers(
    server: type[Answers], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "worms.json").write_text('{"AphiaRecordByAphiaID/11": 5}', encoding="utf-8")
    monkeypatch.setattr(Answers, "broken", "<html>log in</html>")
    found = finding(tmp_path, {"name": "Arthropoda", "rank": "phylum", "aphia_id": 11})
    assert "a page, such as that of a login" in found.text


def test_the_command_says_that_it_is_offline_and_writes_only_when_told(pelagia: Pelagia, tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    file.write_text("name: t\ntaxa: [{name: Copepoda, rank: class}]\nclasses: [{name: c, taxon: Copepoda}]\n")
    before = file.read_bytes()
    nowhere = {"https_proxy": "http://127.0.0.1:9", "PELAGIA_CACHE_HOME": str(tmp_path / "cache")}
    done = pelagia("taxonomy", "check", file, "--worms", "--write", tmp_path / "new.yaml", env=nowhere)
    assert done.returncode == 9
    assert "1 not checked" in done.stdout
    assert "WoRMS cannot be reached" in done.stderr
    assert "run the same command again with a network" in done.stderr
    assert file.read_bytes() == before
    assert pelagia("taxonomy", "check", file).returncode == 0
    assert pelagia("taxonomy", "check", file, "--write", tmp_path / "x.yaml").returncode == 2


def test_a_table_of_classes_becomes_a_taxonomy(pelagia: Pelagia, tmp_path: Path) -> None:
    table = tmp_path / "classes.csv"
    table.write_text(
        "Class;Scientific Name;rank;lineage;AphiaID\n"
        "copepod;Copepoda;class;Animalia > Arthropoda > Copepoda;1080.0\n"
        "calanus;Calanus;genus;Animalia|Arthropoda|Copepoda;\n"
        "detritus;;;;\n"
        ";Arthropoda;phylum;Animalia;1065\n",
        encoding="utf-8",
    )
    done = pelagia("taxonomy", "from", table, "--out", tmp_path / "t.yaml")
    assert "not organisms: detritus" in done.stdout
    made = load_taxonomy(tmp_path / "t.yaml")
    assert made.names == ("calanus", "copepod", "detritus")
    assert [(one.name, one.rank, one.aphia_id) for one in made.lineage("calanus")] == [
        ("Animalia", "unranked", None),
        ("Arthropoda", "phylum", 1065),
        ("Copepoda", "class", 1080),
        ("Calanus", "genus", None),
    ]
    assert made.lineage("detritus") == ()
    assert pelagia("taxonomy", "from", table, "--out", tmp_path / "t.yaml").returncode == 2  # nothing is overwritten


def test_one_message_lists_all_faults_of_a_table(tmp_path: Path) -> None:
    table = tmp_path / "classes.csv"
    table.write_text(
        "class,scientificName,rank,parent,aphia_id\n"
        "a,Copepoda,class,Arthropoda,x\n"
        "b,Copepoda,subclass,Animalia,\n"
        "a,Calanus,genus,,\n",
        encoding="utf-8",
    )
    with pytest.raises(ConfigError) as error:
        taxonomy_of_table(table)
    assert error.value.faults == (
        "line 4: the class 'a' has two rows: remove one",
        "line 3: the rank of 'Copepoda' is 'subclass', but 'class' in line 2: correct one",
        "line 3: the parent of 'Copepoda' is 'Animalia', but 'Arthropoda' in line 2: correct one",
        "line 2: the AphiaID of 'Copepoda' is 'x', not a whole number above 0",
    )
    (tmp_path / "b.csv").write_text("name,scientificName\na,b\n", encoding="utf-8")
    with pytest.raises(InputError, match="has no column 'class'"):
        taxonomy_of_table(tmp_path / "b.csv")
