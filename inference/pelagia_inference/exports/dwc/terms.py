"""The words of the archive: terms of Darwin Core, codes of the NERC vocabulary server, and rules of OBIS.

Invariant: each URI is written here and nowhere else. The codes are those that the OBIS manual and EcoTaxa use for
imaging data. They were not looked up on the server of the vocabularies.

Sources: Darwin Core text guide (https://dwc.tdwg.org/text/); OBIS manual, checklist of terms and imaging data
(https://manual.obis.org); Martin-Cabrera et al. 2022, doi 10.25607/OBP-1742.
"""

from __future__ import annotations

DWC = "http://rs.tdwg.org/dwc/terms/"
OBIS = "http://rs.iobis.org/obis/terms/"
NERC = "http://vocab.nerc.ac.uk/collection/"

PLACE = (
    "decimalLatitude",
    "decimalLongitude",
    "geodeticDatum",
    "coordinateUncertaintyInMeters",
    "minimumDepthInMeters",
    "maximumDepthInMeters",
)
"""Terms of a place, which a station takes from its samples if they agree."""

EVENT = (
    "eventID",
    "parentEventID",
    "eventType",
    "eventDate",
    "locationID",
    *PLACE,
    "sampleSizeValue",
    "sampleSizeUnit",
    "samplingProtocol",
    "eventRemarks",
)
HIGHER_RANKS = ("kingdom", "phylum", "class", "order", "family", "genus")
OCCURRENCE = (
    "eventID",
    "occurrenceID",
    "basisOfRecord",
    "occurrenceStatus",
    "individualCount",
    "scientificName",
    "scientificNameID",
    "taxonRank",
    *HIGHER_RANKS,
    "verbatimIdentification",
    "identifiedBy",
    "identificationVerificationStatus",
    "identificationReferences",
    "identificationRemarks",
)
MEASUREMENT = (
    "eventID",
    "occurrenceID",
    "measurementID",
    "measurementType",
    "measurementTypeID",
    "measurementValue",
    "measurementValueID",
    "measurementUnit",
    "measurementUnitID",
    "measurementMethod",
)
OF_OBIS = frozenset({"measurementTypeID", "measurementValueID", "measurementUnitID"})
"""Terms of OBIS; the others are of Darwin Core."""

REQUIRED = (
    "eventID",
    "eventDate",
    "decimalLatitude",
    "decimalLongitude",
    "occurrenceID",
    "occurrenceStatus",
    "basisOfRecord",
    "scientificName",
)
"""The terms that OBIS requires."""

ROW_TYPES = {
    "event.txt": f"{DWC}Event",
    "occurrence.txt": f"{DWC}Occurrence",
    "extendedmeasurementorfact.txt": f"{OBIS}ExtendedMeasurementOrFact",
}
COLUMNS = {
    "event.txt": EVENT,
    "occurrence.txt": OCCURRENCE,
    "extendedmeasurementorfact.txt": MEASUREMENT,
}
"""Table -> its columns, after the column with the ``id`` of the event."""

MACHINE, HUMAN = "PredictedByMachine", "ValidatedByHuman"
PRESENT, ABSENT = "present", "absent"
BASIS = "MachineObservation"

COUNT = ("Count (in assayed sample) of biological entity specified elsewhere", f"{NERC}P01/current/OCOUNT01/")
ABUNDANCE = (
    "Abundance of biological entity specified elsewhere per unit volume of the water body",
    f"{NERC}P01/current/SDBIOL01/",
)
BIOVOLUME = (
    "Biovolume of biological entity specified elsewhere per unit volume of the water body",
    f"{NERC}P01/current/CVOLUKNB/",
)
VOLUME = ("Volume sampled of the water body", f"{NERC}P01/current/VOLWBSMP/")
MESH = ("Mesh size of sample collector", f"{NERC}P01/current/MSHSIZE1/")
SUBSAMPLE = ("Sub-sampling coefficient", f"{NERC}P01/current/SSAMPC01/")
INSTRUMENT = ("Analytical instrument name", f"{NERC}P01/current/NMANINST/")
CELLS = ("Cells per unit volume of the water body", "")
CARBON = ("Carbon of biological entity specified elsewhere per unit volume of the water body", "")
"""Each is measurementType and measurementTypeID; the last two have no code that was checked."""

PER_CUBIC_METER = ("Number per cubic metre", f"{NERC}P06/current/UPMM/")
PER_LITER = ("Number per litre", f"{NERC}P06/current/UCPL/")
CUBIC_METERS = ("Cubic metres", f"{NERC}P06/current/MCUB/")
MICROMETERS = ("Micrometres (microns)", f"{NERC}P06/current/UMIC/")
BIOVOLUME_UNIT = ("Cubic millimetres per cubic metre", f"{NERC}P06/current/CMCM/")
CARBON_UNIT = ("Micrograms per litre", "")
NO_UNIT = ("", "")
"""Each is measurementUnit and measurementUnitID."""

INSTRUMENTS = {
    "ifcb": ("Imaging FlowCytobot", "TOOL1588"),
    "imaging flowcytobot": ("Imaging FlowCytobot", "TOOL1588"),
    "flowcam": ("FlowCam", "TOOL1583"),
    "zooscan": ("ZooScan", "TOOL1581"),
    "uvp6": ("UVP6", "TOOL1578"),
    "planktoscope": ("PlanktoScope", "TOOL1579"),
}
"""How the name of an instrument starts, in lower case -> its name and its code in the collection L22."""


def uri_of(term: str) -> str:
    """The URI of a term."""
    return f"{OBIS if term in OF_OBIS else DWC}{term}"


def instrument_of(text: str) -> tuple[str, str]:
    """The name of an instrument and its URI; the text as it is and no URI if the instrument is not in `INSTRUMENTS`."""
    for start, (name, code) in INSTRUMENTS.items():
        if text.strip().lower().startswith(start):
            return name, f"{NERC}L22/current/{code}/"
    return text.strip(), ""


def lsid(aphia_id: int | None) -> str:
    """The identifier that WoRMS gives a taxon; empty if its AphiaID is not known."""
    return f"urn:lsid:marinespecies.org:taxname:{aphia_id}" if aphia_id else ""
