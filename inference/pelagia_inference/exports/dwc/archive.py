"""Writes a Darwin Core Archive: tables of text, ``meta.xml`` that describes them, and ``eml.xml`` about the dataset.

Invariant: the archive is complete or absent. The tables are separated by tabs, without quotes; a tab or line end inside
a value becomes a space.

Sources: Darwin Core text guide; GBIF metadata profile 1.1, which is EML 2.1.1.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from xml.etree import ElementTree as Xml

from pelagia.system.files import new_file, printable
from pelagia_inference.exports.dwc.details import seconds_of
from pelagia_inference.exports.dwc.events import Row
from pelagia_inference.exports.dwc.metadata import LICENSES, DatasetMetadata, Person
from pelagia_inference.exports.dwc.terms import COLUMNS, ROW_TYPES, uri_of

_EML = "eml://ecoinformatics.org/eml-2.1.1"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_PROFILE = "http://rs.gbif.org/schema/eml-gbif-profile/1.1/eml.xsd"
_XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"


def write_archive(target: Path, tables: Mapping[str, Iterable[Row]], eml: Xml.Element) -> None:
    """Writes the archive, which is one zip file.

    Args:
        target: the file; one that is there is replaced.
        tables: the rows of each table of `COLUMNS`, read one by one.
        eml: the description of the dataset.
    """
    with new_file(target) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, columns in COLUMNS.items():
            with archive.open(name, "w") as raw, io.TextIOWrapper(raw, "utf-8", newline="") as text:
                text.write("\t".join(("id", *columns)) + "\n")
                text.writelines(_line(row, columns) for row in tables[name])
        archive.writestr("meta.xml", _document(_meta()))
        archive.writestr("eml.xml", _document(eml))


def _line(row: Row, columns: Sequence[str]) -> str:
    return "\t".join(_cell(row.get(name, "")) for name in ("eventID", *columns)) + "\n"


def _cell(text: str) -> str:
    return text if text.isprintable() else printable(" ".join(text.split()))


def _document(root: Xml.Element) -> bytes:
    Xml.indent(root)
    return bytes(Xml.tostring(root, "utf-8", xml_declaration=True))


def _meta() -> Xml.Element:
    root = Xml.Element("archive", {"xmlns": "http://rs.tdwg.org/dwc/text/", "metadata": "eml.xml"})
    for number, (name, columns) in enumerate(COLUMNS.items()):
        table = Xml.SubElement(
            root,
            "extension" if number else "core",
            {
                "encoding": "UTF-8",
                "fieldsTerminatedBy": "\\t",
                "linesTerminatedBy": "\\n",
                "fieldsEnclosedBy": "",
                "ignoreHeaderLines": "1",
                "rowType": ROW_TYPES[name],
            },
        )
        Xml.SubElement(Xml.SubElement(table, "files"), "location").text = name
        Xml.SubElement(table, "coreid" if number else "id", {"index": "0"})
        for index, term in enumerate(columns, 1):
            Xml.SubElement(table, "field", {"index": str(index), "term": uri_of(term)})
    return root


def eml_of(metadata: DatasetMetadata, events: Sequence[Row], methods: Sequence[str]) -> Xml.Element:
    """The description of the dataset.

    Args:
        metadata: what people say about it.
        events: the rows of the table of events.
        methods: the steps from the images to the numbers, one text each.
    """
    root = _eml_root(metadata)
    dataset = Xml.SubElement(root, "dataset")
    _add(dataset, "title", metadata.title)
    creators = [one for one in metadata.creators if one.named]
    for role in ("creator", "metadataProvider"):
        for person in creators:
            _person(dataset, role, person)
    _add(dataset, "pubDate", date.today().isoformat())
    _add(dataset, "language", "eng")
    _add(Xml.SubElement(dataset, "abstract"), "para", metadata.abstract)
    if metadata.keywords:
        words = Xml.SubElement(dataset, "keywordSet")
        for word in metadata.keywords:
            _add(words, "keyword", word)
        _add(words, "keywordThesaurus", "N/A")
    if metadata.license:
        _license(dataset, metadata.license)
    _coverage(dataset, events)
    for person in creators:
        _person(dataset, "contact", person)
    steps = Xml.SubElement(dataset, "methods")
    for text in methods:
        _add(Xml.SubElement(Xml.SubElement(steps, "methodStep"), "description"), "para", text)
    return root


def _eml_root(metadata: DatasetMetadata) -> Xml.Element:
    attributes = {
        "xmlns:eml": _EML,
        "xmlns:xsi": _XSI,
        "xsi:schemaLocation": f"{_EML} {_PROFILE}",
        "packageId": metadata.id,
        "system": "https://gbif.org",
        "scope": "system",
        _XML_LANG: "eng",
    }
    return Xml.Element("eml:eml", attributes)


def _license(dataset: Xml.Element, name: str) -> None:
    address, title = LICENSES[name]
    para = Xml.SubElement(Xml.SubElement(dataset, "intellectualRights"), "para")
    para.text = "This work is licensed under a "
    link = Xml.SubElement(para, "ulink", {"url": address})
    _add(link, "citetitle", f"{title} License")
    link.tail = "."


def _person(dataset: Xml.Element, role: str, person: Person) -> None:
    node = Xml.SubElement(dataset, role)
    if person.family_name:
        name = Xml.SubElement(node, "individualName")
        if person.given_name:
            _add(name, "givenName", person.given_name)
        _add(name, "surName", person.family_name)
    if person.organization:
        _add(node, "organizationName", person.organization)
    if person.email:
        _add(node, "electronicMailAddress", person.email)
    if person.orcid:
        _add(node, "userId", person.orcid).set("directory", "https://orcid.org/")


def _coverage(dataset: Xml.Element, events: Sequence[Row]) -> None:
    places = [row for row in events if row.get("decimalLatitude") and row.get("decimalLongitude")]
    dates = sorted((part for row in events for part in row.get("eventDate", "").split("/") if part), key=seconds_of)
    if not places and not dates:
        return
    coverage = Xml.SubElement(dataset, "coverage")
    if places:
        area = Xml.SubElement(coverage, "geographicCoverage")
        _add(area, "geographicDescription", "The smallest box around all samples")
        box = Xml.SubElement(area, "boundingCoordinates")
        for name, value in _box(places):
            _add(box, f"{name}BoundingCoordinate", value)
    if dates:
        span = Xml.SubElement(Xml.SubElement(coverage, "temporalCoverage"), "rangeOfDates")
        for name, text in (("beginDate", dates[0]), ("endDate", dates[-1])):
            _add(Xml.SubElement(span, name), "calendarDate", text[:10])


def _box(places: Sequence[Row]) -> Iterator[tuple[str, str]]:
    latitudes = [float(row["decimalLatitude"]) for row in places]
    longitudes = [float(row["decimalLongitude"]) for row in places]
    yield "west", str(min(longitudes))
    yield "east", str(max(longitudes))
    yield "north", str(max(latitudes))
    yield "south", str(min(latitudes))


def _add(parent: Xml.Element, name: str, text: str) -> Xml.Element:
    node = Xml.SubElement(parent, name)
    node.text = printable(text, lines=True)
    return node
